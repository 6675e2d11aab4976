"""Who reads a history, who waits for bytes, and what others need of the journal.

It only knows them: `repltap.retention` decides which limit ends whom, `repltap.feed` when.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from repltap.endings import DisconnectReason
from repltap.position import Offset
from repltap.store.history import HistoryStore


class Waker(Protocol):
    """Somebody who waits for bytes."""

    def wake(self) -> None:
        """Bytes it waits for have arrived."""


class Reader(Waker, Protocol):
    """Somebody who reads a history."""

    @property
    def pin(self) -> Offset:
        """The lowest offset it still needs."""

    def drop(self, reason: DisconnectReason, detail: str) -> None:
        """Its history has ended, or it fell behind the limit: it must go."""


class Readers:
    """Those who are attached, those who wait, and the pins of the others."""

    def __init__(self) -> None:
        self._attached: dict[int, set[Reader]] = {}  # by the history's number
        self._idle: set[Waker] = set()
        self._pins: dict[object, Offset] = {}  # what is needed by others than readers

    def attach(self, reader: Reader, history: HistoryStore) -> None:
        """Register a reader: from now on its pin holds the journal, within the limits."""
        self._attached.setdefault(history.number, set()).add(reader)

    def detach(self, reader: Reader, history: HistoryStore) -> None:
        """Forget a reader."""
        self._idle.discard(reader)
        readers = self._attached.get(history.number)
        if readers is not None:
            readers.discard(reader)
            if not readers:
                del self._attached[history.number]

    def of(self, history: HistoryStore) -> list[Reader]:
        """List who reads a history now."""
        return list(self._attached.get(history.number, ()))

    def drop(self, history: HistoryStore, reason: DisconnectReason, detail: str) -> None:
        """Send everybody away who reads a history."""
        for reader in self.of(history):
            reader.drop(reason, detail)

    def wait(self, waker: Waker) -> None:
        """Wake this one once, when bytes arrive next."""
        self._idle.add(waker)

    @property
    def idle(self) -> Collection[Waker]:
        """Those who wait."""
        return self._idle

    def wake_idle(self) -> None:
        """Bytes have arrived: wake those who wait."""
        idle, self._idle = self._idle, set()
        for waker in idle:
            waker.wake()

    def pin(self, owner: object, offset: Offset) -> None:
        """Hold the journal back at `offset`, within the limits, until `unpin`."""
        self._pins[owner] = offset

    def unpin(self, owner: object) -> None:
        """Let go of what this owner has pinned, if anything."""
        self._pins.pop(owner, None)

    def pins(self) -> Collection[Offset]:
        """List what is pinned."""
        return self._pins.values()
