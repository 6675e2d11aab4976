"""The sink `log`: a log of the stream on disk, in partitions and segments, for many readers.

It keeps the place with the records: `commit.json` holds both the end of each partition and where
the stream goes on, so a record is there once. Readers see what is committed and nothing else. How
it looks on disk: `eventlog.batch` and `eventlog.files`; which partition: `sinks._partitions`,
by CRC-32 (zlib's).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

from repltap.sink import (
    AnyRecord,
    Option,
    Sample,
    Sink,
    SinkContext,
    SinkError,
    SinkErrorKind,
    SnapshotMode,
    choice,
    integer,
    path,
    seconds,
    size,
)
from sinks._partitions import Partitions
from sinks.eventlog.batch import BatchError
from sinks.eventlog.entries import Headers, copy_headers, json_values, resp_values
from sinks.eventlog.files import MAX_PARTITIONS, CorruptLogError, LogError
from sinks.eventlog.writer import LogWriter, WriterSettings

_VALUES = {"json": json_values, "resp": resp_values}

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_MAX_YEARS = 100 * 366 * 86400


class LogSink(Sink):
    """Writes an event log on disk, in partitions, for many readers at their own pace."""

    options = (
        Option(
            name="dir",
            parse=path,
            help="Directory of the log; the one that it is in has to be there.",
            required=True,
        ),
        Option(
            name="partitions",
            parse=integer(1, MAX_PARTITIONS),
            help="How many; one keeps the order of everything, more the order by key.",
            default=1,
        ),
        Option(
            name="value",
            parse=choice(sorted(_VALUES)),
            help="What a record's value is: json (the envelope) or resp (commands).",
            default="json",
        ),
        Option(
            name="compression",
            parse=choice(["none", "zstd"]),
            help="Of batches: none or zstd.",
            default="none",
        ),
        Option(
            name="segment_bytes",
            parse=size(1024, 1 << 30),
            help="Size of a segment file, 1kb to 1gb.",
            default=64 << 20,
        ),
        Option(
            name="retain_bytes",
            parse=size(0),
            help="Keep at least so much, all partitions together; the oldest segments go. "
            "Everything if not given.",
        ),
        Option(
            name="retain_seconds",
            parse=seconds(1, _MAX_YEARS),
            help="Keep a segment so long after it was written. For ever if not given.",
        ),
    )
    target = "dir"
    exclusive = "dir"
    snapshots = SnapshotMode.NEVER
    whole_transactions = True  # a reader sees none without its end
    exactly_once = True

    def __init__(self, settings: Mapping[str, Any]) -> None:  # Any: as the options parse
        super().__init__(settings)
        # Absolute: the checkpoint names it, for commands that are started elsewhere.
        self._directory: Path = settings["dir"].absolute()
        self._values = _VALUES[settings["value"]]
        self._headers = Headers()
        self._partitions = Partitions(settings["partitions"], crc32)
        self._writer: LogWriter | None = None
        self._counted = 0  # bytes that the context has been told of
        self._removed = 0

    def open(self, context: SinkContext) -> str | None:
        """Go on at the log's last commit, undoing what was written after it.

        Raises:
            SinkError: It can't be written, or what was committed is not all there.
        """
        self.close()
        self._context = context
        settings, count = self.settings, self.settings["partitions"]
        retain_bytes = settings["retain_bytes"]
        with self._errors():
            self._writer = LogWriter(
                self._directory,
                WriterSettings(
                    partitions=count,
                    segment_bytes=settings["segment_bytes"],
                    retain_bytes=None if retain_bytes is None else -(-retain_bytes // count),
                    retain_seconds=settings["retain_seconds"],
                    compress=settings["compression"] == "zstd",
                ),
                context.log,
            )
        self._counted = 0
        if settings["value"] == "resp":
            context.resp_form()  # snapshots are read as it needs them, from the first one on
        return self._place(self._writer)

    def write(self, records: Sequence[AnyRecord]) -> None:
        """Append records; they count from the next commit on.

        Raises:
            SinkError: No room, or another failure of the disk.
        """
        assert self._writer is not None
        add, targets, headers = self._writer.add, self._partitions.targets, self._headers.write
        with self._errors():
            values = self._values(self._context, records)
            for record, value in zip(records, values, strict=True):
                said = headers(record)
                for number, (key, partition) in enumerate(targets(record)):
                    of = copy_headers(said, number) if number else said
                    add(partition, record.ts_ms, key, value, of)
        self._count()

    def commit(self, place: str) -> Mapping[str, Any]:
        """Make durable what was written, and let readers see it.

        Raises:
            SinkError: No room, or another failure of the disk.
        """
        writer = self._writer
        assert writer is not None
        with self._errors():
            writer.make_commit(place)
            self._removed += writer.retain()
        self._count()
        return {"dir": str(self._directory), "log": writer.meta.id, "commit": writer.commit.number}

    def idle(self) -> None:
        """Let old segments go.

        Raises:
            SinkError: They can't be removed.
        """
        if self._writer is not None:
            with self._errors():
                self._removed += self._writer.retain()

    def close(self) -> None:
        """Let go of the files; may be called twice."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def samples(self) -> Sequence[Sample]:
        """Say how many records there are, and what retention has removed."""
        if self._writer is None:
            return ()
        sink = {"sink": self._context.name}
        found = [
            Sample(
                "log_committed_records_total",
                "Records in the partition, those that retention has removed included.",
                {**sink, "partition": str(partition)},
                end.next_offset,
            )
            for partition, end in enumerate(self._writer.commit.ends)
        ]
        removed = "Segments that retention has removed since the worker started."
        return [*found, Sample("log_segments_removed_total", removed, sink, self._removed)]

    def _place(self, writer: LogWriter) -> str | None:
        """The log's place, whatever the worker remembers: it is that of the records."""
        place = writer.commit.place
        if place is None and (self._context.state or {}).get("log"):
            self._context.log.warning(
                "%s: the log that was there has been taken away; a new one goes on where it ended",
                self._directory,
            )
        return place

    def _count(self) -> None:
        assert self._writer is not None
        self._context.sent(self._writer.written - self._counted)
        self._counted = self._writer.written

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """The one seam where errors of files become the sink's."""
        try:
            yield
        except BatchError as exc:
            raise SinkError(
                f"{self._directory}: {exc}",
                hint="set max_value_bytes",
                kind=SinkErrorKind.UNSUPPORTED,
                passes=False,
            ) from exc
        except CorruptLogError as exc:
            raise SinkError(exc.message, hint=exc.hint, passes=False) from exc
        except LogError as exc:
            raise SinkError(exc.message, hint=exc.hint, kind=SinkErrorKind.REFUSED) from exc
        except OSError as exc:
            raise self._os_error(exc) from exc

    def _os_error(self, exc: OSError) -> SinkError:
        message = f"{exc.filename or self._directory}: {exc.strerror or exc}"
        if exc.errno in _NO_ROOM:
            hint = "make room, or set retain_bytes; it goes on when there is room"
            return SinkError(message, hint=hint, kind=SinkErrorKind.FULL)
        hint = "check the disk, its mount and its permissions"
        if exc.errno == errno.ENOENT:
            hint = "is the directory that it is in there, or its file system mounted?"
        if exc.errno in _REFUSED:
            return SinkError(message, hint=hint, kind=SinkErrorKind.REFUSED)
        return SinkError(message, hint=hint)
