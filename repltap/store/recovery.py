"""Opening a journal directory after whatever happened to it.

Recovery gives back segments that continue each other without a gap, the last of them ready to be
appended to. It repairs what a crash explains and keeps what it cut off; it refuses everything else
before it has changed anything. The rules are in `format`. It must never make up or reorder a byte.

Only the last segment and those that were not durable are read as a whole, within a limit. The
others were complete when their successor was begun; that their size and the end of their index
still say so is checked in constant time each, their bytes by `Segment.verify` while repltap runs,
or by `audit`.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

from repltap.errors import CorruptStoreError
from repltap.position import MAX_OFFSET, Offset
from repltap.store import format as layout
from repltap.store.index import Scan, record_at, scan_segment
from repltap.store.metadata import fsync_dir, storage_error
from repltap.store.segment import Segment

KEEP_BROKEN_FILES = 8
"""Cut-off tails kept for inspection, newest last. A crash loop must not fill the disk with them."""

_COPY_BYTES = 1 << 20

_READ_BYTES = 1 << 30
"""Of the segments that were not durable, no more than this is read: half a second of checksums.
With fsync `no` nothing ever is; what is older is checked before it is served, as everything is."""


@dataclass(frozen=True, slots=True)
class Repair:
    """Something that recovery put right, for the log.

    Attributes:
        path: The file it was about.
        offset: From where on stream bytes were cut off; None for other files.
        cut_bytes: How many.
        kept: Where they are now; None when nothing was kept.
        reason: What was found.
    """

    path: Path
    offset: Offset | None
    cut_bytes: int
    kept: Path | None
    reason: str


@dataclass(frozen=True, slots=True)
class Recovered:
    """A journal directory that is sound.

    Attributes:
        segments: At least one, in order.
        time_ns: Of the last index record, 0 for none.
        repairs: What had to be done for it.
    """

    segments: list[Segment]
    time_ns: int
    repairs: list[Repair]


def recover_journal(directory: Path) -> Recovered:
    """Make a journal directory sound, or refuse it; blocking.

    When it returns, everything it gives back has been fsynced.

    Args:
        directory: The journal directory of a published history.

    Returns:
        Its segments and what was repaired.

    Raises:
        CorruptStoreError: It is damaged in a way that no crash explains; nothing was changed.
        DiskFullError: There is no room to finish the repair.
        DataDirError: Its files can't be read or written.
    """
    try:
        return _recover(directory)
    except OSError as exc:
        raise storage_error(exc, directory) from exc


def _recover(directory: Path) -> Recovered:
    segments = list_segments(directory)
    if not segments:
        raise _corrupt(directory, Offset(0), "there is no segment")
    mark = read_mark(directory)
    if mark is None:
        mark = MAX_OFFSET  # believe that all of it was durable
    orphans = _orphan_indexes(directory, segments, mark)
    last, damage = _find_last(segments, mark)
    hole = _find_hole(segments[:last], mark)
    if hole is not None:
        last, damage = hole, "the journal before it was not written out"
    scan = _scan(segments[last])
    # A segment that has successors goes on behind its damage, if only in those.
    if (scan.resumes or hole is not None) and scan.end < mark:
        raise _corrupt(segments[last].path, scan.end, scan.damage)

    # From here on things are changed.
    for orphan in orphans:
        orphan.unlink()
    repairs = [_set_aside(segment, damage) for segment in reversed(segments[last + 1 :])]
    tail = segments[last]
    if scan.damage:
        repairs.append(_cut_tail(directory, tail, scan))
    tail.verified = True
    tail.end = scan.end
    tail.index_bytes = scan.records * layout.RECORD_BYTES
    _bound_broken_files(directory)
    # The process may have died with these still unwritten, and what is recovered counts as durable.
    for segment in segments[: last + 1]:
        if segment.end > mark or segment is tail:
            _fsync_segment(segment)
    fsync_dir(directory)
    return Recovered(segments[: last + 1], scan.time_ns, repairs)


def list_segments(directory: Path, since: Offset | None = None) -> list[Segment]:
    """List the segments of a journal, oldest first; a file that vanishes meanwhile is left out.

    Args:
        directory: Of the journal.
        since: Leave out what lies below; looking at each file is what takes the time.

    Raises:
        OSError: The directory can't be read.
    """
    starts = sorted(
        name[0]
        for name in map(layout.parse_name, os.listdir(directory))  # noqa: PTH208 - names only
        if name is not None and name[1] == "seg"
    )
    if since is not None:
        del starts[: max(bisect_right(starts, since) - 1, 0)]
    segments = []
    for start in starts:
        path = layout.segment_path(directory, start)
        index_bytes = _size(layout.index_path(directory, start)) or 0
        size = _size(path)
        if size is not None:
            segments.append(Segment(path, start, Offset(start + size), index_bytes))
    return segments


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def read_mark(directory: Path) -> Offset | None:
    """Read up to where the journal was durable; None when that is damaged or absent.

    Raises:
        OSError: It can't be read.
    """
    try:
        return layout.unpack_mark((directory / layout.MARK_NAME).read_bytes())
    except FileNotFoundError:
        return None


def _orphan_indexes(directory: Path, segments: list[Segment], mark: Offset) -> list[Path]:
    """Indexes without data: left by an interrupted trim below, or roll above; else refused."""
    starts = {segment.start for segment in segments}
    orphans = []
    for name in map(layout.parse_name, os.listdir(directory)):  # noqa: PTH208 - names only
        if name is None or name[1] != "idx" or name[0] in starts:
            continue
        path = layout.index_path(directory, name[0])
        if name[0] > segments[0].start and name[0] < mark and path.stat().st_size:
            raise _corrupt(
                layout.segment_path(directory, name[0]), name[0], "the segment file is missing"
            )
        orphans.append(path)
    return orphans


def _find_last(segments: list[Segment], mark: Offset) -> tuple[int, str]:
    """Find the segment the journal ends in: the first whose successor does not follow from it.

    Returns:
        Its position in the list, and why the journal does not go on behind it ("" when the list
        ends there).
    """
    for position, following in enumerate(segments[1:]):
        segment = segments[position]
        damage, at = _check_closed(segment, following.start, durable=following.start <= mark)
        if damage:
            if at < mark and segment.end == following.start:
                at = _scan(segment).end  # its index may be torn past the mark only
            if at < mark:
                raise _corrupt(segment.path, at, damage)
            return position, damage
    return len(segments) - 1, ""


def _find_hole(closed: list[Segment], mark: Offset) -> int | None:
    """Find the first closed segment whose bytes a power failure has kept from the disk.

    The pages of several files are written out in any order: a segment can be whole where the one
    before it is not. What is sound is noted as verified.
    """
    unsynced = [n for n, segment in enumerate(closed) if segment.end > mark]
    while unsynced and closed[-1].end - closed[unsynced[0]].start > _READ_BYTES:
        unsynced.pop(0)
    for position in unsynced:
        segment = closed[position]
        if _scan(segment).end < segment.end:
            return position
        segment.verified = True
    return None


def _check_closed(segment: Segment, following: Offset, *, durable: bool) -> tuple[str, Offset]:
    """Check a segment that has a successor, in constant time.

    Args:
        segment: Which.
        following: Where its successor begins.
        durable: It was on the disk as a whole, so what is wrong with it no crash explains. Then
            its index is not opened: `Segment.verify` looks at it before a byte is served.

    Returns:
        What is wrong with it, "" for nothing, and at which offset.
    """
    if segment.end < following:
        return f"the journal goes on at offset {following} only", segment.end
    if segment.end > following:
        return "it overlaps the segment after it", following
    whole = segment.index_bytes and not segment.index_bytes % layout.RECORD_BYTES
    if whole and durable:
        return "", segment.end
    record = None
    if whole:
        index = layout.index_path(segment.path.parent, segment.start)
        record = record_at(index, segment.index_bytes // layout.RECORD_BYTES - 1)
    if record is None or record.end != following:
        return "its index does not end where its data does", segment.start
    return "", segment.end


def _scan(segment: Segment) -> Scan:
    directory = segment.path.parent
    return scan_segment(segment.path, layout.index_path(directory, segment.start), segment.start)


def _cut_tail(directory: Path, segment: Segment, scan: Scan) -> Repair:
    """Keep what a segment holds past its valid records in a file of its own, then cut it off."""
    cut = segment.end - scan.end
    kept: Path | None = None
    if cut > 0:
        kept = layout.broken_path(directory, scan.end)
        try:
            _copy_tail(segment.path, scan.end - segment.start, kept)
        except OSError:
            # No room for a copy of bytes that nobody may use must not keep repltap from starting.
            kept.unlink(missing_ok=True)
            kept = None
    # The index first: data without a record is a torn tail again if we die in between.
    index = layout.index_path(directory, segment.start)
    index.touch()
    os.truncate(index, scan.records * layout.RECORD_BYTES)
    os.truncate(segment.path, scan.end - segment.start)
    return Repair(segment.path, scan.end, max(0, cut), kept, scan.damage)


def _copy_tail(source: Path, position: int, target: Path) -> None:
    with open(source, "rb") as tail, open(target, "wb") as copy:
        tail.seek(position)
        while chunk := tail.read(_COPY_BYTES):
            copy.write(chunk)
        copy.flush()
        os.fsync(copy.fileno())


def _set_aside(segment: Segment, reason: str) -> Repair:
    """Take a whole segment that nothing leads up to out of the journal."""
    directory = segment.path.parent
    kept = layout.broken_path(directory, segment.start)
    # The index first: data without one is cut off as a torn tail if we die in between.
    layout.index_path(directory, segment.start).unlink(missing_ok=True)
    segment.path.rename(kept)
    return Repair(segment.path, segment.start, segment.end - segment.start, kept, reason)


def _bound_broken_files(directory: Path) -> None:
    broken = sorted(
        directory.glob("*" + layout.BROKEN_SUFFIX), key=lambda path: path.stat().st_mtime_ns
    )
    for path in broken[:-KEEP_BROKEN_FILES]:
        path.unlink()


def _fsync_segment(segment: Segment) -> None:
    for path in (segment.path, layout.index_path(segment.path.parent, segment.start)):
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _corrupt(path: Path, offset: Offset, reason: str) -> CorruptStoreError:
    return CorruptStoreError(
        f"damaged at offset {offset}: {reason}",
        path=path,
        hint="nothing was changed; restore the file, or move its history directory away to begin "
        "again with a full sync",
    )
