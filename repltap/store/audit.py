"""Comparing everything that is stored with its checksums, without changing anything.

It goes on behind what it finds, so that the whole of a damage is known, and it may run beside a
repltap that appends and trims: whatever looks damaged is looked at once more, in a fresh view,
before it is said to be. The rules of what a crash explains are in `format`; what it explains is no
damage, the next start repairs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from repltap.errors import CorruptStoreError, NotRetainedError
from repltap.position import Offset
from repltap.store.format import (
    MARK_NAME,
    RECORD_BYTES,
    index_path,
    segment_path,
)
from repltap.store.index import Checked, walk_records
from repltap.store.metadata import storage_error
from repltap.store.reader import Damage, JournalReader, as_damage
from repltap.store.segment import Segment
from repltap.store.snapshot import Snapshot

Progress = Callable[[int], None]
"""Told of each number of bytes that has been read."""


@dataclass(slots=True)
class JournalAudit:
    """What was found.

    Attributes:
        start, end: What the index covers.
        checked_bytes: How many bytes match their checksums.
        uncovered_bytes: What is stored behind the last index record: just come in, or torn off by
            a crash.
        trimmed_segments: Segments that were deleted before they could be read.
        damages: What is wrong.
    """

    start: Offset
    end: Offset
    checked_bytes: int = 0
    uncovered_bytes: int = 0
    trimmed_segments: int = 0
    damages: list[Damage] = field(default_factory=list)


def audit_journal(path: Path, progress: Progress) -> JournalAudit:
    """Read a journal and compare every checksum; blocking.

    Args:
        path: The directory of the journal.
        progress: Told how far it is.

    Returns:
        What was found; segments that are begun meanwhile are left out.

    Raises:
        NotRetainedError: The history has been removed.
        DataDirError: It can't be read.
    """
    view = JournalReader(path)
    found = JournalAudit(start=view.start, end=view.start)
    if view.mark is None:
        found.damages.append(Damage(view.path / MARK_NAME, "is missing, or damaged"))
    if not view.segments:
        found.damages.append(Damage(view.path, "there is no segment"))
    position = view.start
    for place, segment in enumerate(view.segments):
        if position < segment.start:
            missing = segment_path(view.path, position)
            found.damages.append(Damage(missing, "is missing", position, segment.start))
        part = _audit_segment(view, place, progress)
        if part is None or part.damages:
            part = _look_again(path, segment)
        position = segment.end
        if part is None:
            found.trimmed_segments += 1
            continue
        position = max(position, part.end)
        found.damages += part.damages
        found.checked_bytes += part.checked_bytes
        found.uncovered_bytes, found.end = part.uncovered_bytes, part.end
    return found


def audit_snapshot(snapshot: Snapshot, progress: Progress) -> Damage | None:
    """Read a snapshot and compare it with its checksum; blocking.

    Returns:
        What is wrong, None for nothing: it may have been removed meanwhile.

    Raises:
        DataDirError: It can't be read.
    """
    try:
        snapshot.verify(lambda chunk: progress(len(chunk)))
    except NotRetainedError:
        return None
    except CorruptStoreError as exc:
        return as_damage(exc)
    return None


def _look_again(path: Path, segment: Segment) -> JournalAudit | None:
    """Check a segment in a fresh view, None when it is no longer there."""
    fresh = JournalReader(path)
    for place, known in enumerate(fresh.segments):
        if known.start == segment.start:
            return _audit_segment(fresh, place, lambda _: None)
    return None


def _audit_segment(view: JournalReader, place: int, progress: Progress) -> JournalAudit | None:
    """Check one segment of a view, None when it is gone."""
    segment = view.segments[place]
    following = view.segments[place + 1] if place + 1 < len(view.segments) else None
    found = JournalAudit(start=segment.start, end=segment.start)
    try:
        wrong = _compare(segment, found, progress)
    except NotRetainedError:
        return None
    if following is None and view.mark is not None:
        wrong = _without_torn_tail(wrong, found, view.mark)
    found.uncovered_bytes = max(0, segment.end - found.end)
    index = index_path(view.path, segment.start)
    for check in wrong:
        path = index if check.in_index else segment.path
        # Behind a damaged last record nobody knows anything of the rest.
        end = max(check.end, segment.end) if check.end == check.begin else check.end
        found.damages.append(Damage(path, check.damage, check.begin, end))
    if following is None:
        if view.mark is not None and found.end < view.mark:
            message = f"ends at offset {found.end}, but was durable up to {view.mark}"
            found.damages.append(Damage(segment.path, message, found.end, view.mark))
    elif segment.end > following.start:
        message = "overlaps the segment after it"
        found.damages.append(Damage(segment.path, message, following.start, segment.end))
    elif found.uncovered_bytes and not (wrong and wrong[-1].begin == wrong[-1].end):
        message = "the index does not cover the whole segment"
        found.damages.append(Damage(index, message, found.end, segment.end))
    return found


def _compare(segment: Segment, found: JournalAudit, progress: Progress) -> list[Checked]:
    """Compare a segment with its index; give back what does not match."""
    index = index_path(segment.path.parent, segment.start)
    wrong: list[Checked] = []
    segment.acquire()
    try:
        index_fd = os.open(index, os.O_RDONLY)
        try:
            count = segment.index_bytes // RECORD_BYTES
            for check in walk_records(segment.fd, index_fd, segment.start, count):
                found.end = check.end
                if check.damage:
                    wrong.append(check)
                else:
                    found.checked_bytes += check.end - check.begin
                progress(check.end - check.begin)
        finally:
            os.close(index_fd)
    except FileNotFoundError as exc:
        if not segment.path.exists():
            raise NotRetainedError("trimmed meanwhile", path=segment.path) from exc
    except OSError as exc:
        raise storage_error(exc, segment.path) from exc
    finally:
        segment.release()
    return wrong


def _without_torn_tail(wrong: list[Checked], found: JournalAudit, mark: Offset) -> list[Checked]:
    """Leave out what a crash explains: damage at the very end, in bytes that were not durable."""
    end = found.end
    kept = list(wrong)
    while kept and kept[-1].end == end and kept[-1].begin >= mark:
        end = kept.pop().begin
    found.end = end
    return kept
