"""Deleting what retention has detached from a journal, in a thread, always oldest first.

Unlinking a segment takes the file system some 30 ms (3 GB in 64 MiB segments: 1.4 s), too long for
the event loop. So `Journal.trim` only forgets segments, and a thread deletes their files. A crash
in between is harmless as long as the files left behind are the newest of those detached: then the
journal just begins earlier when it is opened. A gap among them would be taken for corruption, so
there is one queue a journal, whoever deletes, and a file that can't be deleted holds back the rest.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from repltap.store.format import index_path
from repltap.store.metadata import storage_error
from repltap.store.segment import Segment


class DetachedFiles:
    """The segments a journal has detached and whose files are still there.

    Attributes:
        disk_bytes: What they take; still on the disk, so it still counts against the quota.
        deleted: How many have been deleted since the journal was opened.
    """

    def __init__(self) -> None:
        self.disk_bytes = 0
        self.deleted = 0
        self._waiting: deque[Segment] = deque()
        self._counting = threading.Lock()  # never held for long: the event loop takes it
        self._deleting = threading.Lock()

    def add(self, segment: Segment) -> None:
        """Take over a segment that is newer than all before; does not block."""
        with self._counting:
            self._waiting.append(segment)
            self.disk_bytes += segment.disk_bytes

    def delete(self) -> None:
        """Delete the files of all, those added meanwhile too; see `Trimmed.delete`."""
        with self._deleting:
            while self._waiting:
                segment = self._waiting[0]
                try:
                    for path in _files(segment):
                        path.unlink(missing_ok=True)
                except OSError as exc:
                    raise storage_error(exc, segment.path) from exc
                with self._counting:
                    self._waiting.popleft()
                    self.disk_bytes -= segment.disk_bytes
                    self.deleted += 1


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What `Journal.trim` took out of the journal. Call `delete` to free its room.

    Attributes:
        freed_bytes: How many bytes the deletion frees.
        paths: The files it deletes, in this order.
    """

    freed_bytes: int
    paths: tuple[Path, ...]
    _detached: DetachedFiles = field(default_factory=DetachedFiles, repr=False, compare=False)

    def delete(self) -> None:
        """Delete the files; blocking, for a thread. Readers that have acquired one go on reading.

        What was detached before and is still there goes first. Files that are gone already are no
        error. The next sync makes the deletion durable: a power failure that undoes it is harmless.

        Raises:
            DataDirError: A file could not be deleted. It and all newer ones are kept; the next
                `delete`, also of another trim, tries again.
        """
        self._detached.delete()


def trimmed(segments: list[Segment], detached: DetachedFiles) -> Trimmed:
    """Hand segments over to be deleted.

    Args:
        segments: Out of the journal already; oldest first.
        detached: The journal's.
    """
    for segment in segments:
        detached.add(segment)
    paths = tuple(path for segment in segments for path in _files(segment))
    return Trimmed(sum(segment.disk_bytes for segment in segments), paths, detached)


def _files(segment: Segment) -> tuple[Path, Path]:
    # Data first: an index without data is recognised by recovery, data without one is not.
    return segment.path, index_path(segment.path.parent, segment.start)
