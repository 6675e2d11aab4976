"""Which part of a journal is older than a limit.

The time that passes while this process runs is the monotonic clock's: a wall clock that is set
ahead must not make everything old at once. What was there before the start is judged once by the
wall clock's times in the index; a time that lies ahead of the clock then counts as new.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

from repltap.position import Offset
from repltap.store import timemap
from repltap.store.journal import Journal

_MARKS = 64
"""How many times of the past are remembered: what is let go is up to a 64th of the limit older
than it, and whole segments are let go anyhow."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """The journal ended here at that time, on the monotonic clock."""

    at: float
    end: Offset


class JournalAge:
    """The age of the bytes of whichever journal is served.

    Args:
        limit_seconds: What is older has expired.
    """

    def __init__(self, limit_seconds: float) -> None:
        self._limit = limit_seconds
        self._journal: Journal | None = None
        self._began_ns = 0  # the wall clock when the journal was first seen
        self._marks: deque[_Mark] = deque()

    def expired(self, journal: Journal) -> Offset:
        """Tell below which offset everything is older than the limit.

        To be called about once a second. It may read an index record of the oldest segments.

        Args:
            journal: The one that is served now.

        Returns:
            The offset; the journal's start when nothing has expired.

        Raises:
            DataDirError: An index can't be read.
            OpenFilesError: No more files can be opened just now.
        """
        now = time.monotonic()
        marks = self._marks
        if journal is not self._journal:
            self._journal = journal
            self._began_ns = time.time_ns()
            marks.clear()
        if not marks or now - marks[-1].at >= self._limit / _MARKS:
            marks.append(_Mark(now, journal.end))
        while len(marks) > 1 and marks[1].at <= now - self._limit:
            marks.popleft()
        if marks[0].at <= now - self._limit:
            # A truncation may have taken the end back meanwhile.
            return max(journal.start, min(marks[0].end, journal.end))
        return self._expired_before(journal, marks[0], now)

    def _expired_before(self, journal: Journal, first: _Mark, now: float) -> Offset:
        """The same for what was there when the journal was first seen, segment by segment."""
        passed_ns = int((now - first.at - self._limit) * 1e9)
        for segment in journal.segments:
            if segment.end > first.end:
                return segment.start
            last_ns = timemap.last_time(segment)
            if last_ns is None or last_ns > self._began_ns + passed_ns:
                return segment.start
        return journal.end
