"""What sinks still need of the store, so that it is kept for them.

A sink holds its history from its first undelivered byte on, and every history after that. That is
as far as they go: when the room is short what is oldest is let go, and a sink that needed it sees
a gap. Sinks never make the upstream wait.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass

from repltap.position import Offset

log = logging.getLogger("repltap.journal")

_REMIND_SECONDS = 60.0
"""How often it is said that a sink loses what it has not delivered."""


@dataclass(frozen=True, slots=True)
class Hold:
    """The first byte that a sink needs.

    Attributes:
        number: Of its history.
        offset: In it.
    """

    number: int
    offset: Offset


class SinkHolds:
    """What all sinks need, by their names.

    Attributes:
        lost_bytes: What was let go before a sink had delivered it, by sink.
    """

    def __init__(self) -> None:
        self.lost_bytes: Counter[str] = Counter()
        self._holds: dict[str, Hold] = {}
        self._warned: dict[str, float] = {}

    def hold(self, sink: str, number: int, offset: Offset) -> None:
        """Keep for a sink what follows; what was before it needs no longer."""
        self._holds[sink] = Hold(number, offset)

    def release(self, sink: str) -> None:
        """Keep nothing for it any more."""
        self._holds.pop(sink, None)

    def of(self, sink: str) -> Hold | None:
        """Tell what is kept for a sink."""
        return self._holds.get(sink)

    def need(self, number: int) -> bool:
        """Tell whether a sink needs anything of a history."""
        return any(hold.number <= number for hold in self._holds.values())

    def lowest(self, number: int) -> Offset | None:
        """Tell from which offset on a history is needed, None where it is not.

        A sink that has not finished an older one needs all of it.
        """
        needed = [
            hold.offset if hold.number == number else Offset(0)
            for hold in self._holds.values()
            if hold.number <= number
        ]
        return min(needed, default=None)

    def let_go(self, number: int, start: Offset, end: Offset) -> None:
        """Count what has been deleted although sinks needed it, and say so.

        Args:
            number: The history.
            start, end: The bytes of it that were deleted.
        """
        for sink, hold in self._holds.items():
            if hold.number > number:
                continue
            first = max(start, hold.offset) if hold.number == number else start
            if first >= end:
                continue
            self.lost_bytes[sink] += end - first
            now = time.monotonic()
            if now - self._warned.get(sink, -_REMIND_SECONDS) >= _REMIND_SECONDS:
                self._warned[sink] = now
                log.warning(
                    "the journal of offsets %d to %d is let go for want of room before sink %s "
                    "has delivered it: it will see a gap; raise store.quota_bytes, or see why it "
                    "is slow with `repltap status`",
                    first,
                    end,
                    sink,
                )
