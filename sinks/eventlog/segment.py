"""Reading a segment: finding a batch in it, and going from one to the next. It never writes.

What an index says is a hint. It is believed where the batch that it points to says the same, and
each batch is compared with the offset that has to come next, so that neither a damaged index nor a
damaged header leads to a record that is not the one that was asked for.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from sinks.eventlog.batch import (
    HEADER_BYTES,
    BatchError,
    BatchHeader,
    LogRecord,
    check,
    read_header,
    read_records,
)
from sinks.eventlog.files import (
    INDEX,
    TIMEINDEX,
    CorruptLogError,
    segment_path,
    unreadable,
)

INDEX_ENTRY = struct.Struct(">II")
TIME_ENTRY = struct.Struct(">qI")

INDEX_INTERVAL_BYTES = 4096
"""As Kafka's: an index is a five hundredth of its segment at most."""

_FIRST_READ = 64 << 10
"""Most batches under little load are smaller: one call reads header and records."""


class Located(NamedTuple):
    """A batch and where it is."""

    position: int
    header: BatchHeader


class SegmentReader:
    """One open segment. Use as a context manager.

    Args:
        partition: The directory of its partition.
        base: The offset of its first record.
        size: Bytes of the `.log` that may be read; None for all that is there.

    Raises:
        FileNotFoundError: It is not there (any more).
        LogError: It can't be opened.
    """

    def __init__(self, partition: Path, base: int, size: int | None = None) -> None:
        self.path = segment_path(partition, base)
        self.base = base
        self._partition = partition
        try:
            self._fd = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            raise
        except OSError as exc:
            raise unreadable(self.path, exc) from exc
        self.size = os.fstat(self._fd).st_size if size is None else size

    def __enter__(self) -> SegmentReader:
        """Read it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Let go of it; may be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def headers(self, position: int = 0, expected: int | None = None) -> Iterator[Located]:
        """Go over the batches by their headers alone.

        Args:
            position: Of the first one.
            expected: Its first offset; None for the segment's first batch.

        Raises:
            CorruptLogError: A header is not the one that belongs there.
            LogError: The file can't be read.
        """
        expected = self.base if expected is None else expected
        while position < self.size:
            found = self._header(self._read(position, HEADER_BYTES), position, expected)
            yield Located(position, found)
            position += found.size
            expected = found.last_offset + 1

    def batches(self, offset: int) -> Iterator[tuple[Located, bytes]]:
        """Read whole batches, compared with their checksums, from the one with `offset` on.

        Raises:
            CorruptLogError: One is damaged.
            LogError: The file can't be read.
        """
        position, expected = self.locate(offset)
        while position < self.size:
            raw = self._read(position, _FIRST_READ)
            found = self._header(raw, position, expected)
            if found.last_offset >= offset:
                if found.size > len(raw):
                    raw += self._read(position + len(raw), found.size - len(raw))
                try:
                    check(raw, found)
                except BatchError as exc:
                    raise self._corrupt(position, expected, exc) from exc
                yield Located(position, found), raw[: found.size]
            position += found.size
            expected = found.last_offset + 1

    def records(self, located: Located, raw: bytes) -> list[LogRecord]:
        """Read the records of a batch that `batches` gave.

        Raises:
            CorruptLogError: They are not what the format says.
        """
        try:
            return read_records(raw, located.header)
        except BatchError as exc:
            raise self._corrupt(located.position, located.header.base_offset, exc) from exc

    def verify_batch(self, located: Located, raw: bytes) -> None:
        """Compare every record of a batch that `batches` gave with the format.

        Raises:
            CorruptLogError: It is not what the format says, though the checksum matches.
        """
        for record in self.records(located, raw):
            try:
                record.headers  # noqa: B018 - they are read when they are asked for
            except BatchError as exc:
                raise self._corrupt(located.position, record.offset, exc) from exc

    def locate(self, offset: int) -> tuple[int, int]:
        """Find a batch at or before an offset.

        Returns:
            Its position, and its first offset.

        Raises:
            LogError: The file can't be read.
        """
        if offset <= self.base:
            return 0, self.base
        entries = self._entries(INDEX, INDEX_ENTRY)
        found = bisect_left(entries, offset - self.base, key=lambda entry: entry[0])
        if found == 0:
            return 0, self.base
        relative, position = entries[found - 1]
        try:
            header = read_header(self._read(position, HEADER_BYTES))
        except BatchError:
            return 0, self.base
        if header.last_offset != self.base + relative or header.last_offset >= offset:
            return 0, self.base
        return position, header.base_offset

    def before_time(self, ts_ms: int) -> int:
        """Find an offset before which every record of the segment is earlier than a time.

        Args:
            ts_ms: Unix milliseconds.
        """
        last = self.base
        latest: tuple[int, int] = (-(2**63), -1)
        for ts, relative in self._entries(TIMEINDEX, TIME_ENTRY):
            if ts < latest[0] or relative <= latest[1]:
                return self.base  # damaged: believe nothing of it
            latest = (ts, relative)
            if ts < ts_ms:
                last = self.base + relative + 1
        return last

    def _entries(self, suffix: str, entry: struct.Struct) -> list[tuple[int, int]]:
        """Read an index, empty where it is absent; the part of an entry at its end is left."""
        path = segment_path(self._partition, self.base, suffix)
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise unreadable(path, exc) from exc
        return list(entry.iter_unpack(raw[: len(raw) // entry.size * entry.size]))

    def _read(self, position: int, size: int) -> bytes:
        size = max(0, min(size, self.size - position))
        try:
            raw = os.pread(self._fd, size, position)
            while len(raw) < size:  # Linux reads 2 GiB less a page at once
                more = os.pread(self._fd, size - len(raw), position + len(raw))
                if not more:
                    break
                raw += more
        except OSError as exc:
            raise unreadable(self.path, exc) from exc
        return raw

    def _header(self, raw: bytes, position: int, expected: int) -> BatchHeader:
        try:
            found = read_header(raw, expected)
            if found.size > self.size - position:
                raise BatchError(f"the batch of {found.size} bytes is longer than what is there")
        except BatchError as exc:
            raise self._corrupt(position, expected, exc) from exc
        return found

    def _corrupt(self, position: int, expected: int, exc: BatchError) -> CorruptLogError:
        return CorruptLogError(
            f"damaged at byte {position}, offset {expected}: {exc}",
            path=self.path,
            hint="check the disk; repltap sink log verify says what else is damaged",
        )


class IndexBuilder:
    """What goes into the indexes of one segment.

    Attributes:
        max_ts_ms: The largest time of the segment, or less than any.
    """

    def __init__(self, base: int) -> None:
        self._base = base
        self._since = INDEX_INTERVAL_BYTES  # the first batch gets an entry
        self._last = -1
        self._timed = -1
        self.max_ts_ms = -(2**63)

    def add(self, header: BatchHeader, position: int) -> tuple[bytes, bytes]:
        """Take a batch; returns what to append to both."""
        self.max_ts_ms = max(self.max_ts_ms, header.max_ts_ms)
        self._last = header.last_offset - self._base
        self._since += header.size
        if self._since < INDEX_INTERVAL_BYTES:
            return b"", b""
        self._since = 0
        return INDEX_ENTRY.pack(self._last, position), self.finish()

    def finish(self) -> bytes:
        """Write the entry for the last batch, if it has none."""
        if self._timed == self._last:
            return b""
        self._timed = self._last
        return TIME_ENTRY.pack(self.max_ts_ms, self._last)
