"""How one command of the stream is printed: a line as MONITOR shows it, or a JSON object."""

from __future__ import annotations

import base64

import orjson

from repltap.delivery.listing import StoredCommand
from repltap.quoting import quoted


def as_line(command: StoredCommand) -> bytes:
    """Print a command as MONITOR does, with its offsets where MONITOR has the client.

    `1700000000.123456 [0 1000-1027] "SET" "k" "v"`; a database that is not known is `-`.
    """
    seconds, nanoseconds = divmod(command.time_ns, 10**9)
    db = "-" if command.db is None else command.db
    words = " ".join(map(quoted, command.args))
    place = f"{command.start}-{command.end}"
    return f"{seconds}.{nanoseconds // 1000:06d} [{db} {place}] {words}\n".encode("ascii")


def as_json(command: StoredCommand) -> bytes:
    """Print a command as a JSON object on a line: what is not known is left out."""
    document: dict[str, object] = {"offset_start": command.start, "offset_end": command.end}
    if command.db is not None:
        document["db"] = command.db
    name, *args = command.args
    document["cmd"] = name.upper().decode("ascii", "backslashreplace")
    try:
        document["args"] = [arg.decode() for arg in args]
    except UnicodeDecodeError:
        document["args"] = [base64.b64encode(arg).decode("ascii") for arg in args]
        document["enc"] = "base64"
    document["ts_ms"] = command.time_ns // 10**6
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
