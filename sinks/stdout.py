"""Records on standard output, for a person or the next program of a pipe.

Of a worker that a relay has started it is the relay's own. What was put out can't be taken back:
after a crash some records come twice, told apart by `id`.
"""

from __future__ import annotations

import errno
import json
import os
import select
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from repltap.sink import (
    AnyRecord,
    Option,
    Record,
    RespForm,
    Sink,
    SinkContext,
    SinkError,
    SinkErrorKind,
    SnapshotRecord,
    choice,
    quoted,
)

_STDOUT = 1

_POLL_MS = 100
"""How soon it is noticed that the sink is to stop while nobody reads."""


class StdoutSink(Sink):
    """Writes to standard output, at once.

    A commit has nothing left to do.

    Args:
        settings: The values of `options`.
        fd: Another descriptor.
    """

    options = (
        Option(
            name="format",
            parse=choice(("text", "json", "resp")),
            default="json",
            help="json: a record a line; text: a line as MONITOR prints it; resp: commands",
        ),
    )
    target = "format"
    whole_transactions = True  # the form can't go on within one

    def __init__(self, settings: Mapping[str, Any], *, fd: int = _STDOUT) -> None:
        super().__init__(settings)
        self._fd = fd
        self._form: RespForm | None = None
        self._is_torn = False  # a write has failed within a line

    def open(self, context: SinkContext) -> str | None:
        """See `Sink.open`."""
        self._context = context
        self._form = context.resp_form() if self.settings["format"] == "resp" else None
        try:
            mode = os.fstat(self._fd).st_mode
        except OSError as exc:
            raise _error(exc) from exc
        # A write to a pipe that has room for so much does not block; a file never does for long.
        self._piece_bytes = 1 << 20 if stat.S_ISREG(mode) else select.PIPE_BUF
        return None

    def write(self, records: Sequence[AnyRecord]) -> None:
        """See `Sink.write`."""
        if self._form is not None:
            data = self._form.write(records)
        elif self.settings["format"] == "json":
            data = self._context.json_lines(records)
        else:
            data = "".join(self._lines(records)).encode("ascii")
        if self._is_torn and self._form is None:
            data = b"\n" + data
        self._put(data)
        self._context.sent(len(data))

    def commit(self, place: str) -> Mapping[str, Any] | None:  # noqa: ARG002
        """See `Sink.commit`."""
        return None

    def close(self) -> None:
        """See `Sink.close`; standard output stays open, it is not ours."""

    def _put(self, data: bytes) -> None:
        """Write all of it, waiting for who reads, but not past a stop.

        Raises:
            SinkError: Nobody reads any more, or the sink is to stop.
        """
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        self._is_torn = True
        with memoryview(data) as view:
            done = 0
            while done < len(view):
                try:
                    if not poll.poll(_POLL_MS):
                        self._require_running()
                        continue
                    done += os.write(self._fd, view[done : done + self._piece_bytes])
                except BlockingIOError:
                    self._require_running()  # somebody has made it non-blocking, and it is full
                except OSError as exc:
                    raise _error(exc) from exc
        self._is_torn = False

    def _require_running(self) -> None:
        if self._context.wait(0):
            raise SinkError("stdout: stopped while nobody reads it", kind=SinkErrorKind.AWAY)

    def _lines(self, records: Sequence[AnyRecord]) -> Iterator[str]:
        if isinstance(records[0], SnapshotRecord):
            written = self._context.json_lines(records).splitlines()
            yield from map(_snapshot_line, records, map(json.loads, written))
            return
        for record in records:
            time = f"{record.ts_ms // 1000}.{record.ts_ms % 1000:03d}"
            if isinstance(record, Record):
                words = " ".join(map(quoted, record.words))
                place = f"{record.offset_start}-{record.offset_end}"
                yield f"{time} [{_database(record.db)} {place}] {words}\n"
            elif not isinstance(record, SnapshotRecord):
                details = [f"{name}={json.dumps(value)}" for name, value in record.details.items()]
                place = f"{record.offset_start}-{record.offset_end}"
                yield " ".join([f"{time} [- {place}] {record.kind.value}", *details]) + "\n"


def _snapshot_line(record: AnyRecord, document: Mapping[str, Any]) -> str:  # Any: JSON
    """Print a key of a snapshot; its value as the JSON form has it."""
    assert isinstance(record, SnapshotRecord)
    words = [
        f"{record.ts_ms // 1000}.{record.ts_ms % 1000:03d}",
        f"[{_database(record.db)} {record.offset}]",
        record.type,
        *map(quoted, record.keys),
        json.dumps(document.get("value")),
    ]
    words += [] if record.expire_at_ms is None else [f"expires={record.expire_at_ms}"]
    words += ["base64"] if document.get("enc") == "base64" else []
    return " ".join(words) + "\n"


def _database(db: int | None) -> str:
    return "-" if db is None else str(db)


def _error(exc: OSError) -> SinkError:
    if exc.errno in (errno.EPIPE, errno.EBADF):
        return SinkError(
            "stdout: nobody reads it any more",
            hint="start repltap again with a reader",
            kind=SinkErrorKind.AWAY,
            passes=False,
        )
    kind = SinkErrorKind.FULL if exc.errno == errno.ENOSPC else SinkErrorKind.OTHER
    return SinkError(f"stdout: {os.strerror(exc.errno or 0)}", kind=kind)
