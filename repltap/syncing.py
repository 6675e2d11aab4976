"""When the journal is forced to the disk: the fsync policies, off the event loop.

One fsync runs at a time, in a thread, and takes with it everything that was appended before it
began: what comes meanwhile is the next one's (group commit). So its cost is per fsync, not per
write, and a slow disk makes the groups larger, never the queue longer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from repltap.config import FsyncPolicy
from repltap.errors import DiskFullError, OpenFilesError
from repltap.store.journal import Journal
from repltap.tasks import wait_at_most

log = logging.getLogger("repltap.journal")

SYNC_SECONDS = 1.0
"""How often the journal is forced to the disk with `everysec`, as Redis's `appendfsync`."""

_RETRY_SECONDS = 1.0
"""After a sync that could not be begun, whoever asks waits this long."""


class JournalSync:
    """Forces the journal that is written now to the disk.

    Args:
        policy: When.
        journal: Tells which one, None when there is none or its files are being renamed.

    Attributes:
        policy: As given.
        count, seconds: How many fsyncs have been done, and how long they took together.
        appended: To be called after each append; it costs next to nothing where the policy is not
            `always`.
    """

    def __init__(self, policy: FsyncPolicy, journal: Callable[[], Journal | None]) -> None:
        self.policy = policy
        self._journal = journal
        self._asked = asyncio.Event()
        always = policy is FsyncPolicy.ALWAYS
        self.appended: Callable[[], None] = self._asked.set if always else _nothing
        self.count = 0
        self.seconds = 0.0
        self._listeners: list[Callable[[], None]] = []

    def listen(self, callback: Callable[[], None]) -> None:
        """Call back after each fsync: the journal's `durable_end` has grown."""
        self._listeners.append(callback)

    def request(self) -> None:
        """Somebody waits for what has been appended so far: sync soon, whatever the policy.

        With `no` nothing is promised, and nothing done.
        """
        self._asked.set()

    async def run(self) -> None:
        """Sync as the policy says until cancelled.

        Raises:
            StoreError: The disk refused: what is stored can't be trusted to last.
        """
        if self.policy is FsyncPolicy.NO:
            await asyncio.Event().wait()
        while True:
            await wait_at_most(self._asked, SYNC_SECONDS)
            self._asked.clear()
            if not await self.sync():
                await asyncio.sleep(_RETRY_SECONDS)

    async def sync(self) -> bool:
        """Make everything appended so far durable.

        Returns:
            False when there was no room for the index record that it needs, or no more files
            could be opened: to be tried again.

        Raises:
            StoreError: The disk failed.
        """
        journal = self._journal()
        if journal is None or journal.durable_end == journal.end:
            return True
        began = time.monotonic()
        try:
            job = journal.prepare_sync()
        except (DiskFullError, OpenFilesError) as failure:
            # Nothing of it has been tried, so nothing is in doubt. The link pauses for want of
            # room, and says so; descriptors are given back.
            log.warning("not synced: %s", failure)
            return False
        await asyncio.to_thread(job.run)
        journal.synced(job)
        self.count += 1
        self.seconds += time.monotonic() - began
        for callback in self._listeners:
            callback()
        return True


def _nothing() -> None:
    """Do nothing after an append."""
