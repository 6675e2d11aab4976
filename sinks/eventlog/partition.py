"""Writing one partition: appending batches, the indexes beside them, letting old segments go."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from sinks.eventlog.batch import BatchHeader
from sinks.eventlog.files import (
    INDEX,
    LOG,
    SUFFIXES,
    TIMEINDEX,
    CorruptLogError,
    End,
    fsync_dir,
    list_segments,
    segment_path,
    write_all,
)
from sinks.eventlog.segment import INDEX_ENTRY, TIME_ENTRY, IndexBuilder, SegmentReader

_MAX_RELATIVE = 2**31 - 1
"""Kafka's tools read the offsets and positions of an index as signed."""


class PartitionWriter:
    """Appends to the segments of one partition.

    Args:
        path: Its directory.
        segment_bytes: How large a `.log` gets; a batch that is larger has one of its own.
        roll_seconds: How long after its first batch a segment gets no more; None for ever.
        clock: Unix seconds.

    Attributes:
        end: Up to where it is written.
    """

    def __init__(
        self,
        path: Path,
        *,
        segment_bytes: int,
        roll_seconds: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self.end = End(0, 0, 0)
        self._segment_bytes = segment_bytes
        self._roll_seconds = roll_seconds
        self._clock = clock
        self._fds: list[int] = []  # of the last segment: .log, .index, .timeindex
        self._index = IndexBuilder(0)
        self._opened_at = 0.0
        self._dirty = False
        self._renamed = False  # names have changed: the directory has to be synced

    def open(self, end: End, log: logging.Logger) -> None:
        """Go on at an end, undoing whatever was written after it.

        Args:
            end: What was committed.
            log: Told of what had to be repaired.

        Raises:
            CorruptLogError: What was committed is not all there.
            OSError: The files can't be changed.
        """
        if not self.path.exists():
            self.path.mkdir()
        self._remove_after(end)
        if end.next_offset == end.segment:
            segment_path(self.path, end.segment).touch()
        path = segment_path(self.path, end.segment)
        if not path.exists() or path.stat().st_size < end.size:
            raise CorruptLogError(
                f"ends before byte {end.size}, up to where it was committed",
                path=path,
                hint="check the disk; restore it, or move the log's directory away to begin again",
            )
        os.truncate(path, end.size)
        self._index = IndexBuilder(end.segment)
        self._rebuild(end.segment, end.size, end.next_offset, self._index, log)
        for base in list_segments(self.path)[:-1]:
            self._require_index(base, log)
        self._open_files(end.segment)
        self.end = end

    def append(self, raw: bytes, header: BatchHeader) -> None:
        """Write a batch; `sync` makes it durable.

        Args:
            raw: The batch; its first offset is `end.next_offset`.
            header: What it says of itself.

        Raises:
            OSError: It can't be written; the partition has to be opened again.
        """
        if self._is_full(header):
            self._roll()
        position = self.end.size
        if not position:
            self._opened_at = self._clock()
        self._dirty = True
        write_all(self._fds[0], raw)
        for fd, entry in zip(self._fds[1:], self._index.add(header, position), strict=True):
            if entry:
                write_all(fd, entry)
        self.end = End(self.end.segment, position + header.size, header.last_offset + 1)

    def sync(self) -> None:
        """Make what was appended durable; a segment that is due is completed first.

        Raises:
            OSError: It can't be.
        """
        if self._roll_is_due():
            self._roll()
        if self._dirty:
            os.fdatasync(self._fds[0])
            self._dirty = False
        if self._renamed:
            fsync_dir(self.path)
            self._renamed = False

    def retain(self, retain_bytes: int | None, retain_seconds: float | None) -> int:
        """Remove the oldest segments; only where everything is committed.

        Args:
            retain_bytes: Keep at least so much of the newest, None for all.
            retain_seconds: Keep a segment so long after it was written last, None for ever.

        Returns:
            How many were removed.

        Raises:
            OSError: They can't be.
        """
        if retain_bytes is None and retain_seconds is None:
            return 0
        bases = list_segments(self.path)
        found = [segment_path(self.path, base).stat() for base in bases]
        total, removed = sum(one.st_size for one in found), 0
        for base, one in zip(bases[:-1], found[:-1], strict=True):
            is_over = retain_bytes is not None and total - one.st_size >= retain_bytes
            age = self._clock() - one.st_mtime
            if not is_over and not (retain_seconds is not None and age > retain_seconds):
                break
            for suffix in SUFFIXES:  # the .log first: a reader that finds none looks again
                segment_path(self.path, base, suffix).unlink(missing_ok=True)
            fsync_dir(self.path)  # else a power failure may leave an older one, and a gap
            total -= one.st_size
            removed += 1
        return removed

    def close(self) -> None:
        """Let go of the files; may be called twice."""
        for fd in self._fds:
            os.close(fd)
        self._fds = []

    def _is_full(self, header: BatchHeader) -> bool:
        if not self.end.size:
            return False
        return (
            self.end.size + header.size > self._segment_bytes
            or header.last_offset - self.end.segment > _MAX_RELATIVE
            or self._roll_is_due()
        )

    def _roll_is_due(self) -> bool:
        return (
            self._roll_seconds is not None
            and self.end.size > 0
            and self._clock() >= self._opened_at + self._roll_seconds
        )

    def _roll(self) -> None:
        """Complete the last segment and begin the next."""
        if entry := self._index.finish():
            write_all(self._fds[2], entry)
        for fd in self._fds:
            os.fdatasync(fd)
        self._dirty = False
        self.close()
        base = self.end.next_offset
        self._index = IndexBuilder(base)
        self._open_files(base)
        self.end = End(base, 0, base)

    def _open_files(self, base: int) -> None:
        for suffix in SUFFIXES:
            path = segment_path(self.path, base, suffix)
            self._fds.append(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644))
        self._renamed = True

    def _remove_after(self, end: End) -> None:
        """Remove the segments that were begun after an end, and indexes without a segment."""
        known = set(list_segments(self.path))
        for suffix in SUFFIXES:
            for base in list_segments(self.path, suffix):
                if base > end.segment or base not in known:
                    segment_path(self.path, base, suffix).unlink()
                    self._renamed = True

    def _require_index(self, base: int, log: logging.Logger) -> None:
        """Write the indexes of a complete segment again where they are absent or torn."""
        size = segment_path(self.path, base).stat().st_size
        for suffix, entry in ((INDEX, INDEX_ENTRY), (TIMEINDEX, TIME_ENTRY)):
            path = segment_path(self.path, base, suffix)
            held = path.stat().st_size if path.exists() else 0
            if size and (not held or held % entry.size):
                self._rebuild(base, size, None, IndexBuilder(base), log)
                return

    def _rebuild(
        self, base: int, size: int, end: int | None, index: IndexBuilder, log: logging.Logger
    ) -> None:
        """Read a segment and write its indexes again where they are not what it says."""
        entries = bytearray(), bytearray()
        last = base
        with SegmentReader(self.path, base, size) as reader:
            for located, _ in reader.batches(base):
                for kept, entry in zip(
                    entries, index.add(located.header, located.position), strict=True
                ):
                    kept += entry
                if located.position == 0:
                    self._opened_at = located.header.base_ts_ms / 1000
                last = located.header.last_offset + 1
        if end is None:
            entries[1].extend(index.finish())
        elif last != end:
            raise CorruptLogError(
                f"ends at offset {last}, and was committed up to {end}",
                path=segment_path(self.path, base, LOG),
                hint="check the disk; restore it, or move the log's directory away to begin again",
            )
        for suffix, wanted in zip((INDEX, TIMEINDEX), entries, strict=True):
            path = segment_path(self.path, base, suffix)
            held = path.read_bytes() if path.exists() else b""
            if held == bytes(wanted) and held:
                continue
            if not held.startswith(wanted):
                log.warning("%s did not fit its segment and was written again", path)
            path.write_bytes(wanted)
