"""Comparing a whole log with its checksums, its offsets and its indexes; nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sinks.eventlog.files import (
    INDEX,
    TIMEINDEX,
    CorruptLogError,
    End,
    list_segments,
    partition_path,
    segment_path,
)
from sinks.eventlog.reader import LogReader
from sinks.eventlog.segment import IndexBuilder, SegmentReader


@dataclass(slots=True)
class Audit:
    """What was found in one partition.

    Attributes:
        partition: Which.
        records, size: That were right, and their bytes.
        damages: Of records: each a line with its file.
        indexes: Indexes that don't fit; reading is slower without them, nothing else.
    """

    partition: int
    records: int = 0
    size: int = 0
    damages: list[str] = field(default_factory=list)
    indexes: list[Path] = field(default_factory=list)


def audit_partition(log: LogReader, partition: int, advance: Callable[[int], None]) -> Audit:
    """Read everything of a partition that is committed.

    Args:
        log: Whose.
        partition: Which.
        advance: Told of each number of bytes that is done.

    Raises:
        CorruptLogError: `commit.json` can't be believed.
        LogError: Something can't be read.
    """
    found = Audit(partition)
    path = partition_path(log.directory, partition)
    end = log.commit().ends[partition]
    bases = [base for base in list_segments(path) if base <= end.segment]
    expected: int | None = None  # where the next segment has to begin
    for base in bases:
        if expected is not None and base != expected:
            found.damages.append(_missing(path, expected, base))
        expected = _audit_segment(found, path, base, end, advance)
    if end.segment not in bases:
        found.damages.append(_missing(path, expected or 0, end.next_offset))
    elif expected is not None and expected != end.next_offset:
        found.damages.append(_missing(path, expected, end.next_offset))
    return found


def _missing(path: Path, begin: int, end: int) -> str:
    return f"{path}: offsets {begin} to {end - 1} are missing"


def _audit_segment(
    found: Audit, path: Path, base: int, end: End, advance: Callable[[int], None]
) -> int | None:
    """Read a segment; returns where the next one has to begin, None where nobody can tell."""
    index, entries, last = IndexBuilder(base), (bytearray(), bytearray()), base
    is_last = base == end.segment
    try:
        with SegmentReader(path, base, end.size if is_last else None) as segment:
            for located, raw in segment.batches(base):
                segment.verify_batch(located, raw)
                header = located.header
                for kept, entry in zip(entries, index.add(header, located.position), strict=True):
                    kept += entry
                last = header.last_offset + 1
                found.records += header.records
                found.size += header.size
                advance(header.size)
    except FileNotFoundError:
        return None  # retention was quicker
    except CorruptLogError as exc:
        found.damages.append(exc.message)
        return None
    if not is_last:
        entries[1].extend(index.finish())
    for suffix, wanted in zip((INDEX, TIMEINDEX), entries, strict=True):
        file = segment_path(path, base, suffix)
        held = file.read_bytes() if file.exists() else b""
        # That of the last one already has what is not committed yet.
        if held[: len(wanted)] != wanted or not (is_last or len(held) == len(wanted)):
            found.indexes.append(file)
    return last
