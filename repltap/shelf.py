"""The stored snapshots that may be served: checked once after a start, forgotten when they are bad.

A snapshot that this process took in was verified while it arrived. One from before the start has
been on a disk since, so it is read and compared with its checksum before its first use.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from repltap.errors import NotRetainedError, OpenFilesError, StoreError
from repltap.logs import history_log
from repltap.pace import Pace, PaceStoppedError
from repltap.store.history import HistoryStore
from repltap.store.snapshots import Snapshot
from repltap.tasks import OwnedTasks

log = logging.getLogger("repltap.journal")

_ANY_RATE = 1
"""Of what is read as fast as it goes, in bytes a second."""

_REMIND_SECONDS = 60.0
"""How often it is said that a check still waits for a file descriptor."""


class SnapshotShelf:
    """The snapshots of the history that is served.

    Args:
        history: As found at the start, None when nothing was stored.
        tasks: Owns the checks.
        changed: Called when a check is done, or a snapshot is gone.

    Attributes:
        history: The one that is served now; its owner keeps it right.
        damaged: How many were found to be.
    """

    def __init__(
        self, history: HistoryStore | None, tasks: OwnedTasks, changed: Callable[[], None]
    ) -> None:
        self.history = history
        self._tasks = tasks
        self._changed = changed
        self.damaged = 0
        self._unverified = set(history.snapshots.all) if history else set()
        self._verifying: dict[Snapshot, Pace] = {}
        self._reminded_at = float("-inf")

    @property
    def verifying(self) -> bool:
        """A snapshot is being checked: whether it can be served will be known soon."""
        return any(pace.hurried for pace in self._verifying.values())

    @property
    def unverified(self) -> list[Snapshot]:
        """Those that have not been checked, newest first."""
        stored = self.history.snapshots.all if self.history is not None else ()
        return [snapshot for snapshot in stored if snapshot in self._unverified]

    def newest(self, accepts: Callable[[str], bool]) -> Snapshot | None:
        """Find the newest snapshot that the journal goes on from.

        Its tail may be gone, and after a power failure the journal may end below it until the
        master has sent the rest again: what follows it could not be sent.

        Where that is one that has not been checked yet, the check begins and the answer is None
        for now; `changed` is called when it is known to be good, or gone.

        Args:
            accepts: Tells whether a format, such as `redis0011`, will do.
        """
        history = self.history
        if history is None:
            return None
        for snapshot in history.snapshots.all:
            journal = history.journal
            joins = journal.start <= snapshot.offset <= journal.end
            if not joins or not accepts(snapshot.format):
                continue
            if snapshot not in self._unverified:
                return snapshot
            pace = self._verifying.get(snapshot)
            if pace is None:
                pace = self._verifying[snapshot] = Pace(_ANY_RATE)
                self._tasks.spawn("verify snapshot", self._verify_now(history, snapshot, pace))
            pace.hurry()
            return None
        return None

    def stop(self) -> None:
        """End the checks that run: a snapshot may take minutes to read."""
        for pace in self._verifying.values():
            pace.stop()

    async def check(self, snapshot: Snapshot, pace: Pace) -> bool | None:
        """Check a snapshot in the background; a damaged one is set aside.

        Args:
            snapshot: Of `unverified`.
            pace: How fast.

        Returns:
            Whether it is sound; None when that has to be asked again later: it is being checked
            already, or can't be opened just now.
        """
        if snapshot in self._verifying or self.history is None:
            return None
        self._verifying[snapshot] = pace
        return await self._verify(self.history, snapshot, pace)

    def lost(self, snapshot: Snapshot, reason: str) -> None:
        """A snapshot can't be read any more: forget it; another is fetched when it is wanted."""
        history = self.history
        log.error("a snapshot is lost: %s", reason)
        if history is not None and snapshot in history.snapshots.all:
            self._tasks.spawn("forget snapshot", self._forget(history, snapshot))

    async def _verify_now(self, history: HistoryStore, snapshot: Snapshot, pace: Pace) -> None:
        await self._verify(history, snapshot, pace)

    async def _verify(self, history: HistoryStore, snapshot: Snapshot, pace: Pace) -> bool | None:
        sound = True
        try:
            await asyncio.to_thread(snapshot.verify, lambda chunk: pace.read(len(chunk)))
        except (OpenFilesError, PaceStoppedError) as failure:
            if isinstance(failure, OpenFilesError):
                self._remind(failure)
            del self._verifying[snapshot]
            return None
        except StoreError as failure:
            sound = False
            if not isinstance(failure, NotRetainedError):
                self.damaged += 1
            history_log(history.history.replid).error(
                "%s; it is set aside, the next full sync fetches another", failure
            )
            await self._withdraw(history.snapshots.set_aside, snapshot)
        self._unverified.discard(snapshot)
        del self._verifying[snapshot]
        self._changed()
        return sound

    def _remind(self, failure: OpenFilesError) -> None:
        """Say that a check waits; whoever wants the snapshot asks for it each second."""
        now = asyncio.get_running_loop().time()
        if now - self._reminded_at >= _REMIND_SECONDS:
            self._reminded_at = now
            log.warning("%s; the check is tried again until it succeeds", failure)

    async def _forget(self, history: HistoryStore, snapshot: Snapshot) -> None:
        await self._withdraw(history.snapshots.remove, snapshot)
        self._changed()

    @staticmethod
    async def _withdraw(how: Callable[[Snapshot], object], snapshot: Snapshot) -> None:
        try:
            await asyncio.to_thread(how, snapshot)
        except StoreError as failure:
            log.error("%s; the snapshot is not offered any more all the same", failure)
