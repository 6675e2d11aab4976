"""The map from stream offsets to times and back, read from the index of the segments.

It is as exact as the index: a record for every 64 KiB or 50 ms, whichever comes first. Times in it
never go back, even when the clock does: then several records carry the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from repltap.position import Offset
from repltap.store.format import RECORD_BYTES, Record, index_path
from repltap.store.index import first_where, record_at
from repltap.store.metadata import storage_error
from repltap.store.segment import Segment


def time_of(segment: Segment, offset: Offset) -> int | None:
    """Tell when the byte at `offset` came in.

    Args:
        segment: The segment that holds it.
        offset: Which byte.

    Returns:
        Unix nanoseconds, at most one index interval late; None while no record covers it.

    Raises:
        DataDirError: The index can't be read, or has been removed meanwhile.
    """
    path, count = _index(segment)
    try:
        position = first_where(path, count, lambda record: record.end > offset)
        record = record_at(path, position) if position < count else None
    except OSError as exc:
        raise storage_error(exc, path) from exc
    return record.time_ns if record else None


def offset_at(segments: Sequence[Segment], time_ns: int) -> Offset | None:
    """Tell how far the stream had come at a time.

    Args:
        segments: All of a journal, oldest first.
        time_ns: Unix nanoseconds.

    Returns:
        The largest recorded offset below which everything was in; None when the time is before
        the first record that is held.

    Raises:
        DataDirError: An index can't be read, or has been removed meanwhile.
    """
    for segment in reversed(segments):
        path, count = _index(segment)
        try:
            later = first_where(path, count, lambda record: record.time_ns > time_ns)
            record: Record | None = record_at(path, later - 1) if later else None
        except OSError as exc:
            raise storage_error(exc, path) from exc
        if record is not None:
            return record.end
    return None


def last_time(segment: Segment) -> int | None:
    """Tell when the last byte that the index of a segment covers came in.

    Returns:
        Unix nanoseconds; None while no record covers any.

    Raises:
        DataDirError: The index can't be read, or has been removed meanwhile.
    """
    path, count = _index(segment)
    try:
        record = record_at(path, count - 1) if count else None
    except OSError as exc:
        raise storage_error(exc, path) from exc
    return record.time_ns if record else None


def _index(segment: Segment) -> tuple[Path, int]:
    return index_path(segment.path.parent, segment.start), segment.index_bytes // RECORD_BYTES
