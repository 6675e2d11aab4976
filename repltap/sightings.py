"""How far behind the master the link is: what the master was seen to have, and what has come.

An offset counts from when it was first seen at the master. A byte may have been written just after
the look before, so seconds are at most one look's distance too few, and never too many.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from repltap.position import Offset, ReplId

MAX_MARKS = 4096
"""Looks that are remembered while nothing comes: over an hour of them. Past that every second one
is forgotten, so that the error stays below a thousandth of the lag."""


@dataclass(frozen=True, slots=True)
class MasterLag:
    """What is known of the master.

    Attributes:
        offset: What it had when it was last seen.
        bytes: What of that has not come.
        seconds: For how long the first of these has been there, 0 when there is none.
    """

    offset: Offset
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Mark:
    offset: Offset
    at: float


class Sightings:
    """What was seen of a master; all times are of one clock that never goes back.

    Args:
        max_age_seconds: What was seen longer ago says nothing about now.
    """

    def __init__(self, max_age_seconds: float) -> None:
        self._max_age = max_age_seconds
        self._replid: ReplId | None = None
        self._last = _Mark(Offset(0), float("-inf"))
        self._marks: deque[_Mark] = deque()

    def note(self, replid: ReplId, offset: Offset, received: Offset, now: float) -> None:
        """Note what the master has.

        Args:
            replid: Of its history; another one than last time makes all before void.
            offset: The end of its stream.
            received: What has come of it.
            now: When it was asked.
        """
        if replid != self._replid or offset < self._last.offset:
            self._marks.clear()
            self._replid = replid
            self._last = _Mark(received, now)
        marks = self._marks
        while marks and marks[0].offset <= received:
            marks.popleft()
        if offset > max(received, self._last.offset):
            marks.append(_Mark(offset, now))
        if len(marks) > MAX_MARKS:
            newest = marks[-1]
            self._marks = deque(list(marks)[::2])
            if self._marks[-1] is not newest:
                self._marks.append(newest)
        self._last = _Mark(offset, now)

    def lag(self, replid: ReplId, received: Offset, now: float) -> MasterLag | None:
        """Tell how far behind the link is.

        Args:
            replid: Of the history that is received.
            received: Its end.
            now: By the clock of `note`.

        Returns:
            None where the master has not been seen lately, or goes on with another history.
        """
        if replid != self._replid or now - self._last.at > self._max_age:
            return None
        first = next((mark for mark in self._marks if mark.offset > received), None)
        return MasterLag(
            self._last.offset,
            max(0, self._last.offset - received),
            0.0 if first is None else now - first.at,
        )
