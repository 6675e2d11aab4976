"""Journal segments from before the start are compared with their checksums before they are served.

Opening a store reads the last segment alone, so that a restart is quick whatever the journal's
size. The others have been on a disk since they were written: a byte that changed there must never
reach a replica. Each is read once, in a thread: when somebody first needs it, or in the background
before that.
"""

from __future__ import annotations

import asyncio
import logging

from repltap.endings import DisconnectReason, Ending
from repltap.errors import (
    CorruptStoreError,
    DiskFullError,
    NotRetainedError,
    OpenFilesError,
    StoreError,
)
from repltap.logs import history_log
from repltap.pace import Pace, PaceStoppedError
from repltap.readers import Reader
from repltap.store.history import HistoryStore
from repltap.store.segment import Segment
from repltap.tasks import OwnedTasks

log = logging.getLogger("repltap.journal")


class SegmentChecks:
    """The checks that are running, and who waits for them.

    Args:
        tasks: Owns them.

    Attributes:
        damaged: How many were, or could not be read in the background.
    """

    def __init__(self, tasks: OwnedTasks) -> None:
        self.damaged = 0
        self._tasks = tasks
        self._waiting: dict[Segment, set[Reader]] = {}
        self._paces: dict[Segment, Pace] = {}  # of those that are checked in the background

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
            if segment in self._paces:
                self._paces[segment].hurry()
            return
        self._waiting[segment] = {reader}
        self._tasks.spawn("verify segment", self._check_for_readers(segment, history))

    async def check(self, segment: Segment, history: HistoryStore, pace: Pace) -> bool | None:
        """Check a segment in the background; a damaged one is given up.

        Args:
            segment: Not verified yet.
            history: Whose journal it is of.
            pace: How fast.

        Returns:
            Whether it is sound; None when that has to be asked again later: it is being checked
            already, or can't be opened just now.
        """
        if segment in self._waiting:
            return None
        self._waiting[segment] = set()
        self._paces[segment] = pace
        try:
            return await self._check(segment, history, pace)
        finally:
            del self._paces[segment]

    async def _check_for_readers(self, segment: Segment, history: HistoryStore) -> None:
        await self._check(segment, history, None)

    async def _check(
        self, segment: Segment, history: HistoryStore, pace: Pace | None
    ) -> bool | None:
        ending: Ending | None = None
        sound: bool | None = True
        try:
            await asyncio.to_thread(segment.verify, pace.read if pace else None)
        except PaceStoppedError:
            sound = None
        except CorruptStoreError as failure:
            sound = False
            self.damaged += 1
            ending = Ending(DisconnectReason.DAMAGED, "the journal is damaged where it reads")
            history_log(history.history.replid).error(
                "%s; the journal up to offset %d is given up", failure, segment.end
            )
            await self._give_up(segment, history)
        except (NotRetainedError, OpenFilesError) as failure:
            sound = None
            ending = Ending(DisconnectReason.STORE_ERROR, str(failure))
        except StoreError as failure:
            sound = False
            ending = Ending(DisconnectReason.STORE_ERROR, str(failure))
            if pace is not None:
                self.damaged += 1
                log.error("%s; it can't be checked", failure)
        for reader in self._waiting.pop(segment):
            if ending is not None:
                reader.drop(ending.reason, ending.detail)
            else:
                reader.wake()
        return sound

    @staticmethod
    async def _give_up(segment: Segment, history: HistoryStore) -> None:
        """Remove a damaged segment and what is before it, its bytes since the check included.

        A failover that cut the journal within it has made it the last one, which is never trimmed.
        """
        journal = history.journal
        if segment is journal.segments[-1]:
            try:
                journal.begin_segment()
            except DiskFullError as failure:
                history_log(history.history.replid).error(
                    "%s; it goes when there is room for the segment after it", failure
                )
        trimmed = journal.trim(segment.end)
        await asyncio.to_thread(trimmed.delete)
