"""What an error of the target means, and how it is told: never with a value of a command."""

from __future__ import annotations

import re

from repltap.sink import SinkError, SinkErrorKind

_Meaning = tuple[SinkErrorKind, bool, str]

_CLUSTER = "the redis sink does not write to a cluster: choose a server that is none"
_AWAY: _Meaning = (SinkErrorKind.AWAY, True, "")

# By the first word, as Redis and Valkey have them (`createSharedObjects`).
_BY_CODE: dict[str, _Meaning] = {
    "OOM": (SinkErrorKind.FULL, True, "raise its maxmemory; it is tried again"),
    "MISCONF": (SinkErrorKind.FULL, True, "it can't write its RDB or AOF: look at its log"),
    "READONLY": (SinkErrorKind.AWAY, True, "it is a replica: name the master"),
    "LOADING": _AWAY,
    "MASTERDOWN": _AWAY,
    "NOREPLICAS": _AWAY,
    "BUSY": _AWAY,
    "NOAUTH": (SinkErrorKind.REFUSED, False, "set password_file, and username for an ACL user"),
    "WRONGPASS": (SinkErrorKind.REFUSED, False, "check username and password_file"),
    "NOPERM": (
        SinkErrorKind.REFUSED,
        False,
        "its ACL has to allow the user ~* &* +@all, without +@admin, see docs/redis.md",
    ),
    "DENIED": (SinkErrorKind.REFUSED, False, "its protected mode is on"),
    "MOVED": (SinkErrorKind.UNSUPPORTED, False, _CLUSTER),
    "ASK": (SinkErrorKind.UNSUPPORTED, False, _CLUSTER),
    "CROSSSLOT": (SinkErrorKind.UNSUPPORTED, False, _CLUSTER),
    "CLUSTERDOWN": (SinkErrorKind.UNSUPPORTED, False, _CLUSTER),
}

_NEWER = "it is older than the source, or lacks a module: choose a newer one; the place is kept"
_BY_TEXT: tuple[tuple[str, _Meaning], ...] = (
    ("ERR max number of clients", _AWAY),
    ("ERR unknown command", (SinkErrorKind.UNSUPPORTED, False, _NEWER)),
    ("ERR unknown subcommand", (SinkErrorKind.UNSUPPORTED, False, _NEWER)),
    ("ERR wrong number of arguments", (SinkErrorKind.UNSUPPORTED, False, _NEWER)),
    ("ERR syntax error", (SinkErrorKind.UNSUPPORTED, False, _NEWER)),
    ("ERR DUMP payload version", (SinkErrorKind.UNSUPPORTED, False, _NEWER)),
    ("ERR Bad data format", (SinkErrorKind.UNSUPPORTED, False, _NEWER)),
    ("ERR AUTH", (SinkErrorKind.REFUSED, False, "check username and password_file")),
    ("ERR invalid password", (SinkErrorKind.REFUSED, False, "check password_file")),
)

_ABORT = "EXECABORT Transaction discarded because of: "
_QUOTED = re.compile(r"""'[^']*'|`[^`]*`|"[^"]*\"""")
_MAX_SHOWN = 200


def meaning(text: str) -> _Meaning:
    """Tell what an error means: its kind, whether it passes by itself, and what can be done."""
    text = text.removeprefix(_ABORT)
    code = text.partition(" ")[0]
    if code in _BY_CODE:
        return _BY_CODE[code]
    lower = text.lower()
    for begin, found in _BY_TEXT:
        if lower.startswith(begin.lower()):
            return found
    return SinkErrorKind.OTHER, False, ""


def shown(text: str, cmd: str = "") -> str:
    """Write an error without what it quotes: that may be a value. The command's name stays."""
    text = text.partition(", with args")[0]

    def blank(match: re.Match[str]) -> str:
        return match[0] if match[0][1:-1].upper() == cmd else "'...'"

    return _QUOTED.sub(blank, text)[:_MAX_SHOWN]


def refused(target: object, text: str, cmd: str, *, what: str = "") -> SinkError:
    """Make the error for a command that the target refuses.

    Args:
        target: Which server.
        text: What it said.
        cmd: The command.
        what: Which one it was: its offset, its key.
    """
    kind, passes, hint = meaning(text)
    message = f"{target} refuses {cmd}{what}: {shown(text, cmd)}"
    return SinkError(message, hint=hint, kind=kind, passes=passes)
