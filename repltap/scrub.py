"""Everything that was stored before the start is read once in the background, slowly.

A changed byte is found while the master can still replace it, not when a replica needs it. The
checks are those that readers ask for (`checks`, `shelf`): nothing is read twice, what somebody
waits for is read at full speed, and what is damaged is treated in the same way. The newest comes
first: it is the likeliest to be needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from repltap.checks import SegmentChecks
from repltap.pace import Pace
from repltap.shelf import SnapshotShelf
from repltap.status.store import CheckStatus
from repltap.store.history import HistoryStore
from repltap.store.segment import Segment
from repltap.store.snapshots import Snapshot
from repltap.tasks import wait_at_most

_RETRY_SECONDS = 1.0
"""How long it waits for what others check just then, and for file descriptors."""


class BackgroundCheck:
    """The check of the history that was there at the start.

    Args:
        history: It; None when nothing was stored.
        shelf: Checks its snapshots.
        checks: Checks its segments.
        bytes_per_second: How fast; 0 for not at all.
        current: Tells which history is served: another one ends the check.
    """

    def __init__(
        self,
        history: HistoryStore | None,
        shelf: SnapshotShelf,
        checks: SegmentChecks,
        bytes_per_second: int,
        current: Callable[[], HistoryStore | None],
    ) -> None:
        self._history = history if bytes_per_second else None
        self._shelf = shelf
        self._checks = checks
        self._rate = bytes_per_second
        self._current = current
        self._stopped = asyncio.Event()
        self._pace: Pace | None = None
        self._given_up: set[Segment | Snapshot] = set()
        self._total_bytes = self._left_bytes()

    async def run(self) -> None:
        """Check everything, then return; or when stopped."""
        history = self._history
        while history is not None and not self._stopped.is_set():
            found = self._next()
            if found is None:
                return
            self._pace = pace = Pace(self._rate)
            if isinstance(found, Segment):
                sound = await self._checks.check(found, history, pace)
            else:
                sound = await self._shelf.check(found, pace)
            self._pace = None
            if sound is False:
                self._given_up.add(found)
            elif sound is None:
                await self._wait()

    def stop(self) -> None:
        """End it soon; what is being read is left."""
        self._stopped.set()
        if self._pace is not None:
            self._pace.stop()

    @property
    def damaged(self) -> int:
        """How many segments and snapshots were, whoever found that."""
        return self._checks.damaged + self._shelf.damaged

    def status(self) -> CheckStatus | None:
        """Tell how far it is, None where there was nothing to check."""
        if not self._total_bytes:
            return None
        done = self._pace.done_bytes if self._pace is not None else 0
        left = max(0, self._left_bytes() - done)
        return CheckStatus(
            checked_bytes=max(0, self._total_bytes - left),
            total_bytes=self._total_bytes,
            damaged=self.damaged,
        )

    def _left(self) -> list[Segment | Snapshot]:
        """What has not been checked, the newest first; what is no longer there needs no check."""
        history = self._history
        if history is None or self._current() is not history:
            return []
        found: list[Segment | Snapshot] = list(self._shelf.unverified)
        found += reversed(history.journal.unverified)
        return [each for each in found if each not in self._given_up]

    def _left_bytes(self) -> int:
        return sum(
            each.end - each.start if isinstance(each, Segment) else each.size_bytes
            for each in self._left()
        )

    def _next(self) -> Segment | Snapshot | None:
        return next(iter(self._left()), None)

    async def _wait(self) -> None:
        await wait_at_most(self._stopped, _RETRY_SECONDS)
