"""A reader of a history that reads nothing."""

from __future__ import annotations

from repltap.endings import DisconnectReason
from repltap.position import Offset
from tests.stored import START


class FakeReader:
    """Counts what it is told.

    Attributes:
        pin: The lowest offset it says that it needs.
        woken: How often.
        dropped: Why, each time.
    """

    def __init__(self, pin: int = START) -> None:
        self.pin = Offset(pin)
        self.woken = 0
        self.dropped: list[str] = []

    def wake(self) -> None:
        self.woken += 1

    def drop(self, reason: DisconnectReason, detail: str) -> None:
        self.dropped.append(detail)
