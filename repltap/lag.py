"""How far behind in time a replica is: the age of the first byte that it has not acknowledged.

The times are the wall clock's, from the journal's index, so a clock that is set would make all
replicas late at once. But true lag never grows faster than time passes, and how much has passed
the monotonic clock tells: a measure is never more than the last one plus that.
"""

from __future__ import annotations

import time

from repltap.errors import StoreError
from repltap.position import Offset
from repltap.store.journal import Journal


class Lag:
    """The lag of one replica, and the limit on it.

    The limit is armed only once the replica has been within it: one that begins with an old
    snapshot, or was away, would else be dropped again and again for what it is catching up with.

    Args:
        limit_seconds: None for no limit.
    """

    def __init__(self, limit_seconds: float | None) -> None:
        self._limit = limit_seconds
        self._armed = False
        self._last: tuple[float, float] | None = None  # the last measure, and when it was made
        self._seen: tuple[Offset, float] | None = None  # the journal's end at the last check
        self._uncovered = (Offset(-1), 0.0)  # a byte that no record covers, and when it was seen

    def measure(self, journal: Journal, acked: Offset, now: float) -> float | None:
        """Tell how old the first byte is that has not been acknowledged.

        Reads a few records of the index, unless everything has been acknowledged.

        Args:
            journal: What it is streamed.
            acked: Its last ACK.
            now: On a monotonic clock.

        Returns:
            Seconds, 0 when there is no such byte; None where it is not known.
        """
        seconds = 0.0
        if acked < journal.end:
            found = self._age(journal, acked, now)
            if self._last is not None:
                before, at = self._last
                longest = before + max(0.0, now - at)
                found = longest if found is None else min(found, longest)
            if found is None:
                return None
            seconds = found
        self._last = (seconds, now)
        return seconds

    def exceeded(self, journal: Journal, acked: Offset | None, now: float) -> float | None:
        """Tell by how many seconds it lags when that is past the limit, else None.

        To be called about once a second. Nothing is read for a replica that has acknowledged what
        was there at the last call: a look into the index takes some 30 us, and there may be many.

        Args:
            journal: What it is streamed.
            acked: Its last ACK, None before the first.
            now: On a monotonic clock.
        """
        if self._limit is None or acked is None:
            return None
        seen, self._seen = self._seen, (journal.end, now)
        seconds: float | None
        if seen is not None and acked >= seen[0] and now - seen[1] <= self._limit:
            seconds = now - seen[1]  # at most
            self._last = (seconds, now)
        else:
            seconds = self.measure(journal, acked, now)
        if seconds is None:
            return None
        if seconds <= self._limit:
            self._armed = True
            return None
        return seconds if self._armed else None

    def _age(self, journal: Journal, acked: Offset, now: float) -> float | None:
        try:
            # What retention has deleted is older than what is left.
            came_ns = journal.time_of(max(acked, journal.start))
        except StoreError:
            return None  # trimmed just then, or no more files can be opened
        if came_ns is None:
            # It came within the last index interval, unless it is the last for now.
            if self._uncovered[0] != acked:
                self._uncovered = (acked, now)
            return now - self._uncovered[1]
        return max(0.0, (time.time_ns() - came_ns) / 1e9)
