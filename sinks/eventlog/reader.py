"""Reading a log beside its writer: what is committed, from any offset or time on.

A reader asks for nothing and locks nothing. Each time it comes to the end of what it knew to be
committed it looks at `commit.json` again. Retention may take a segment away under it: one that is
open is read to its end, the next that is wanted is out of range.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from sinks.eventlog.batch import LogRecord
from sinks.eventlog.files import (
    Commit,
    CorruptLogError,
    End,
    OffsetOutOfRangeError,
    list_segments,
    load_commit,
    load_meta,
    partition_path,
    unreadable,
)
from sinks.eventlog.segment import SegmentReader

_LOOKS = 3
"""A segment that vanished between listing and opening is looked for again so often."""


class LogReader:
    """A log to be read.

    Args:
        directory: Of the log.

    Attributes:
        meta: The log's id and number of partitions.

    Raises:
        NoLogError: There is none.
        CorruptLogError: It can't be believed.
        LogError: It can't be read.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.meta = load_meta(directory)

    def commit(self) -> Commit:
        """Look up to where it is committed now.

        Raises:
            CorruptLogError, LogError: As for the class.
        """
        return load_commit(self.directory, self.meta.partitions)

    def partition(self, number: int) -> PartitionReader:
        """Read a partition; `number` is in [0, meta.partitions)."""
        return PartitionReader(self, number)


class PartitionReader:
    """One partition, read in order. Use as a context manager, or close it.

    Args:
        log: Whose.
        number: Which.

    Attributes:
        number: Which.
        path: Its directory.
    """

    def __init__(self, log: LogReader, number: int) -> None:
        self.number = number
        self.path = partition_path(log.directory, number)
        self._log = log
        self._end = End(0, 0, 0)
        self._segment: SegmentReader | None = None
        self._next = -1  # the offset that `_batches` goes on at
        self._batches: Iterator[list[LogRecord]] = iter(())

    def __enter__(self) -> PartitionReader:
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
        """Let go of the open segment; reading opens it again."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None
        self._batches, self._next = iter(()), -1

    def latest(self) -> int:
        """Say which offset comes after the last committed record.

        Raises:
            CorruptLogError, LogError: As for `LogReader`.
        """
        self._end = self._log.commit().ends[self.number]
        return self._end.next_offset

    def earliest(self) -> int:
        """Say which is the first record that is held; `latest()` where there is none.

        Raises:
            CorruptLogError, LogError: As for `LogReader`.
        """
        segments = self._segments(self._log.commit().ends[self.number])
        return segments[0] if segments else 0

    def read(self, offset: int) -> list[LogRecord]:
        """Read the records of one batch, those before an offset left out.

        Args:
            offset: Of the first record that is wanted. Reading on where the last call ended is
                what it is quick at.

        Returns:
            Empty at the end of what is committed.

        Raises:
            OffsetOutOfRangeError: Retention has removed it, or it is beyond the end.
            CorruptLogError: What is there is damaged.
            LogError: It can't be read.
        """
        for _ in range(2):
            if offset != self._next:
                self._seek(offset)
            for records in self._batches:
                self._next = records[-1].offset + 1
                skipped = offset - records[0].offset
                return records[skipped:] if skipped else records
            if offset == self.latest():
                return []
            self._next = -1  # more was committed: look again
        raise self._lost(offset)

    def offset_at(self, ts_ms: int) -> int:
        """Find the first record that is not earlier than a time.

        Args:
            ts_ms: Unix milliseconds.

        Returns:
            Its offset; `latest()` where every record is earlier.

        Raises:
            CorruptLogError, LogError: As for `read`.
        """
        end = self._log.commit().ends[self.number]
        for base in self._segments(end):
            try:
                with self._open(base, end) as segment:
                    found = _first_at(segment, ts_ms)
            except FileNotFoundError:
                continue  # retention was quicker
            if found is not None:
                return found
        return end.next_offset

    def _seek(self, offset: int) -> None:
        """Get ready to read from an offset on."""
        self.close()
        for _ in range(_LOOKS):
            self._require(offset)
            if offset == self._end.next_offset:
                return
            base = max((b for b in self._segments(self._end) if b <= offset), default=None)
            if base is None:
                continue
            try:
                self._segment = self._open(base, self._end)
            except FileNotFoundError:
                continue
            self._batches, self._next = _records(self._segment, offset), offset
            return
        self._require(offset)
        raise self._lost(offset)

    def _open(self, base: int, end: End) -> SegmentReader:
        return SegmentReader(self.path, base, end.size if base == end.segment else None)

    def _segments(self, end: End) -> list[int]:
        try:
            return [base for base in list_segments(self.path) if base <= end.segment]
        except OSError as exc:
            raise unreadable(self.path, exc) from exc

    def _lost(self, offset: int) -> CorruptLogError:
        return CorruptLogError(
            f"offset {offset} is committed, but no segment has it",
            path=self.path,
            hint="repltap sink log verify says what else is missing",
        )

    def _require(self, offset: int) -> None:
        latest, earliest = self.latest(), self.earliest()
        if earliest <= offset <= latest:
            return
        raise OffsetOutOfRangeError(
            f"offset {offset} is not held: there are {earliest} to {latest}",
            path=self.path,
            earliest=earliest,
            latest=latest,
            hint="begin at earliest or latest",
        )


def _records(segment: SegmentReader, offset: int) -> Iterator[list[LogRecord]]:
    for located, raw in segment.batches(offset):
        yield segment.records(located, raw)


def _first_at(segment: SegmentReader, ts_ms: int) -> int | None:
    position, expected = segment.locate(segment.before_time(ts_ms))
    for located in segment.headers(position, expected):
        if located.header.max_ts_ms < ts_ms:
            continue
        for found, raw in segment.batches(located.header.base_offset):
            for record in segment.records(found, raw):
                if record.ts_ms >= ts_ms:
                    return record.offset
    return None
