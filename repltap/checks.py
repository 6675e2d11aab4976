"""Journal segments from before the start are compared with their checksums before they are served.

Opening a store reads the last segment alone, so that a restart is quick whatever the journal's
size. The others have been on a disk since they were written: a byte that changed there must never
reach a replica. Each is read once, in a thread, when somebody first needs it.
"""

from __future__ import annotations

import asyncio
import logging

from repltap.endings import DisconnectReason, Ending
from repltap.errors import CorruptStoreError, StoreError
from repltap.retention import Reader
from repltap.store.history import HistoryStore
from repltap.store.segment import Segment
from repltap.tasks import OwnedTasks

log = logging.getLogger("repltap.journal")


class SegmentChecks:
    """The checks that are running, and who waits for them.

    Args:
        tasks: Owns them.
    """

    def __init__(self, tasks: OwnedTasks) -> None:
        self._tasks = tasks
        self._waiting: dict[Segment, set[Reader]] = {}

    def request(self, segment: Segment, history: HistoryStore, reader: Reader) -> None:
        """Check a segment, then wake this reader; a damaged one is given up, its reader dropped.

        Args:
            segment: Not verified yet.
            history: Whose journal it is of.
            reader: Who needs it.
        """
        waiting = self._waiting.get(segment)
        if waiting is not None:
            waiting.add(reader)
            return
        self._waiting[segment] = {reader}
        self._tasks.spawn("verify segment", self._check(segment, history))

    async def _check(self, segment: Segment, history: HistoryStore) -> None:
        ending: Ending | None = None
        try:
            await asyncio.to_thread(segment.verify)
        except CorruptStoreError as failure:
            ending = Ending(DisconnectReason.DAMAGED, "the journal is damaged where it reads")
            log.error("%s; the journal up to offset %d is given up", failure, segment.end)
            trimmed = history.journal.trim(segment.end)
            await asyncio.to_thread(trimmed.delete)
        except StoreError as failure:
            ending = Ending(DisconnectReason.STORE_ERROR, str(failure))
        for reader in self._waiting.pop(segment):
            if ending is not None:
                reader.drop(ending.reason, ending.detail)
            else:
                reader.wake()
