"""The async seam over the store: one appender, many readers, fsync and retention off their paths.

The upstream link alone appends. Everybody else is a `Reader`: it names the offset it still needs
(its pin), is woken when bytes arrive, and is dropped when its history ends or it falls behind the
limit. Nothing here blocks the event loop for long: appends go to the page cache, fsync, publication
and removal run in threads. The feed never holds the upstream back because a reader is slow.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from repltap.boundary import Replay, last_boundary
from repltap.checks import SegmentChecks
from repltap.config import StoreConfig
from repltap.endings import DisconnectReason
from repltap.errors import (
    DiskFullError,
    OpenFilesError,
    RemoteProtocolError,
    StoreError,
)
from repltap.holds import SinkHolds
from repltap.housekeeping import Housekeeping
from repltap.intake import Intake
from repltap.logs import PeerLogger
from repltap.position import Offset, Position, ReplId
from repltap.readers import Readers
from repltap.retention import Retention
from repltap.scrub import BackgroundCheck
from repltap.shelf import SnapshotShelf
from repltap.store.history import HistoryStore
from repltap.store.journal import Journal
from repltap.store.store import Store
from repltap.syncing import JournalSync
from repltap.tasks import OwnedTasks, wait_at_most

_INDEX_FLUSH_SECONDS = 0.05
"""A crash loses at most the bytes since the last index record; the master still has them."""

_PUBLISH_RETRY_SECONDS = 5.0


class Feed:
    """The histories that are served, and the one that is arriving.

    Args:
        store: The open store; the feed alone writes to it from now on.
        config: Limits on what is retained, and the fsync policy.
    """

    def __init__(self, store: Store, config: StoreConfig) -> None:
        self._store = store
        self._config = config
        self.history: HistoryStore | None = store.current
        """The history that is served now; after an intake it may be ahead of `store.current`."""
        self.intake: Intake | None = None
        """The full sync that is arriving, if any."""
        self.settling: Intake | None = None
        """The last one that has arrived, while it is being made durable."""
        self.shifting = False
        """The history is being given its new replid: nobody may be granted anything meanwhile."""
        self.generation = 0
        """Counts up whenever `history` becomes another one or gets a new replid."""
        self.rename_lock = asyncio.Lock()
        """Held while the history gets a new replid, and while a snapshot is added to it."""
        self.readers = Readers()
        """Who reads, who waits for bytes, and what else is held."""
        self._closing = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []
        self._replay: Replay | None = None  # what is sent again after a retreated resume
        self._index_timer: asyncio.TimerHandle | None = None
        self.syncing = JournalSync(config.fsync, self._journal)
        """Forces the journal to the disk."""
        self.holds = SinkHolds()
        """What sinks still need; kept for them as far as there is room."""
        self._retention = Retention(store, config, self.holds)
        self.upkeep = Housekeeping(store.options.segment_bytes)
        """Says when retention is looked at."""
        self._tasks = OwnedTasks(self._task_failed)
        self.shelf = SnapshotShelf(self.history, self._tasks, self.changed)
        """The stored snapshots, checked before they are served."""
        self.checks = SegmentChecks(self._tasks)
        """The checks of journal segments from before the start."""
        self.scrub = BackgroundCheck(
            self.history, self.shelf, self.checks, config.check_bytes_per_second, self._served
        )
        """The check of everything from before the start."""
        self._publishing = asyncio.Lock()
        self._failure: BaseException | None = None
        self._log = PeerLogger("journal", replid=self._served_replid)

    # -- what the upstream link calls ------------------------------------------------------------

    async def resume_position(self) -> Position | None:
        """Give the place a partial resync should start from, or None when nothing is held.

        It is the last command boundary outside a transaction, as a real replica's applied offset
        would be: after a failover the promoted replica may hold no more than that.
        """
        if self.history is None:
            return None
        journal = self.history.journal
        offset = await asyncio.to_thread(last_boundary, self.history)
        return Position(self.history.history.replid, Offset(min(offset, journal.end)))

    async def resumed(self, replid: ReplId | None, at: Offset) -> None:
        """The master continues our history.

        Args:
            replid: The replid it goes by from here on; None or the known one for no change.
            at: The offset that was asked for: the next byte appended is the one after it.
        """
        history = self.history
        assert history is not None
        if replid is None or replid == history.history.replid:
            if at < history.journal.end:
                self._replay = Replay(history.journal, at)
                self.readers.pin(self, at)
            else:
                self._replay = None
            return
        self.readers.drop(
            history, DisconnectReason.NEW_REPLID, "the master's replication id has changed"
        )
        # What lies past `at` was the old master's alone; the replicas that saw it have applied
        # only what is before it, or are ahead of the new master and need a full sync
        # (Redis replicationCreateCachedMasterClient / shiftReplicationId, disconnectSlaves).
        self._end_replay()
        self.generation += 1
        self.shifting = True
        try:
            async with self.rename_lock:
                await asyncio.to_thread(history.shift, replid, at)
        finally:
            self.shifting = False
        self._log.info("history goes on as %s from offset %d", replid, at)
        self.changed()

    async def begin_intake(self, replid: ReplId, offset: Offset, *, origin: str) -> Intake:
        """The master granted a full sync: open the history that it begins.

        What was served before still is, until the snapshot is whole.

        Args:
            replid, offset: As granted.
            origin: The master, for people.

        Raises:
            StoreError: The store can't hold it.
        """
        self.abandon_intake("another full sync has begun")
        history = await asyncio.to_thread(self._store.begin_history, replid, offset, origin=origin)
        try:
            self.intake = Intake(history, history.snapshots.begin(offset), origin=origin)
        except StoreError:
            await asyncio.to_thread(self._store.discard, history)
            raise
        self.changed()
        return self.intake

    def abandon_intake(self, reason: str) -> None:
        """Give up a snapshot that will not be completed; what was served before still is."""
        intake, self.intake = self.intake, None
        if intake is None or intake.verified:
            return
        intake.fail(reason)
        self._tasks.spawn("discard intake", self._discard_intake(intake))
        self.changed()

    def complete_intake(self, intake: Intake, crc64: int) -> None:
        """The snapshot is whole and its checksum right: serve it, and make it durable meanwhile."""
        old, self.history = self.history, intake.history
        self.shelf.history = intake.history
        self.intake, self.settling = None, intake
        intake.verify(crc64)
        self._end_replay()
        self.generation += 1
        self.readers.pin(intake, intake.offset)
        if old is not None:
            intake.history.follow(old)
            self.readers.drop(
                old,
                DisconnectReason.NEW_HISTORY,
                "the master gave a full resync: a new history has begun",
            )
        intake.release()
        self._tasks.spawn("publish history", self._publish(intake, old))
        self.changed()

    def append(self, data: memoryview | bytes) -> None:
        """Store stream bytes and wake whoever waits for them.

        Args:
            data: The next bytes of the current history's stream.

        Raises:
            DiskFullError: No room; what fitted is stored and the journal's end says how far.
            RemoteProtocolError: The master replays other bytes than it sent before.
        """
        history = self.history
        assert history is not None
        journal = history.journal
        if self._replay is not None:
            data = self._compare_replayed(self._replay, data)
        try:
            journal.append(data, time.time_ns())
        finally:
            if self._index_timer is None:  # first: who is woken may time by it
                loop = asyncio.get_running_loop()
                self._index_timer = loop.call_later(_INDEX_FLUSH_SECONDS, self._index_due)
            if self.readers.idle:
                self.readers.wake_idle()
            self.syncing.appended()
            self.upkeep.appended(journal.end)

    @property
    def pressed(self) -> bool:
        """Room is short and retention due: append no more before `upkeep.catch_up()`."""
        history = self.history
        if history is None or not self.upkeep.is_due(history.journal.end):
            return False
        return not self.has_room(self._store.options.segment_bytes + self.working_room_bytes)

    # -- what readers call -----------------------------------------------------------------------

    def histories(self) -> list[HistoryStore]:
        """Give what is kept for sinks, oldest first, and what is served now."""
        current = () if self.history is None else (self.history,)
        return sorted({*self._store.published, *current}, key=lambda history: history.number)

    def listen(self, callback: Callable[[], None]) -> None:
        """Call back whenever the history, the intake or the stored snapshots change."""
        self._listeners.append(callback)

    def changed(self) -> None:
        """Tell the listeners that requests which wait may be served now."""
        for callback in self._listeners:
            callback()

    def arriving_replid(self) -> str:
        """Name the history that bytes from the master go to, for logs; "" before the first."""
        return self._served_replid() if self.intake is None else self.intake.history.history.replid

    def _served_replid(self) -> str:
        return "" if self.history is None else self.history.history.replid

    # -- housekeeping ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Sync and trim until cancelled.

        Raises:
            StoreError: The disk refused an fsync: what is stored can't be trusted to last.
        """
        await self._retention.drop_histories(self.history)
        self._tasks.spawn("background check", self.scrub.run())
        # On its own: a slow disk must not keep old journal from making room.
        syncing = asyncio.get_running_loop().create_task(self.syncing.run(), name="sync")
        syncing.add_done_callback(lambda _: self.upkeep.call())  # it ends when the disk fails
        try:
            while True:
                await self.upkeep.wait()
                if self._failure is not None:
                    raise self._failure
                if syncing.done():
                    syncing.result()
                await self._retain()
                self.upkeep.done()
        finally:
            syncing.cancel()
            await asyncio.wait([syncing])

    def _served(self) -> HistoryStore | None:
        return self.history

    async def _retain(self) -> None:
        history = self.history
        if history is None or self.shifting:
            return
        self.upkeep.begin(history.journal.end)
        await self._retention.apply(history, partial(self.readers.of, history), self.readers.pins)

    async def make_room(self, wanted_bytes: int) -> bool:
        """Let go of what sinks alone need, the oldest first, until this much more may be stored.

        Returns:
            Whether it may.
        """
        if self.history is not None and not self.shifting:
            await self._retention.make_room(self.history, wanted_bytes)
        return self.has_room(wanted_bytes)

    async def close(self) -> None:
        """Wait for publications, drop an unfinished intake, sync and close the store."""
        self._closing.set()
        self.scrub.stop()
        self.shelf.stop()
        self.abandon_intake("repltap is shutting down")
        await self._tasks.join()
        if self._index_timer is not None:
            self._index_timer.cancel()
            self._index_timer = None
        await asyncio.to_thread(self._store.close)

    @property
    def data_dir(self) -> Path:
        """Where everything is stored."""
        return self._store.path

    @property
    def checkpoints(self) -> Path:
        """Where sinks keep how far they are."""
        return self._store.checkpoints.path

    def free_bytes(self) -> int:
        """What the file system, or the quota, has left."""
        return self._store.free_bytes()

    @property
    def limits(self) -> StoreConfig:
        """What may be stored, as configured."""
        return self._config

    @property
    def working_room_bytes(self) -> int:
        """With less room than this there is no point in reading from the master."""
        return self._retention.working_room_bytes

    @property
    def pin_limit_bytes(self) -> int:
        """How much journal may follow a snapshot that is kept; 0 while nothing is served."""
        return 0 if self.history is None else self._retention.pin_limit(self.history)

    @property
    def usable_bytes(self) -> int | None:
        """What may be stored before consumers lose journal; None without a quota."""
        return self._retention.usable_bytes

    def has_room(self, wanted_bytes: int) -> bool:
        """Tell whether this much more may be stored, so that reading on makes sense."""
        return self._store.has_room(wanted_bytes, self._config.min_free_bytes)

    def _journal(self) -> Journal | None:
        """Give the journal that may be synced now."""
        return None if self.history is None or self.shifting else self.history.journal

    async def drop_broken(self, wanted_bytes: int) -> None:
        """Delete what was found damaged and kept, until this much more may be stored.

        What can't be deleted stays: there is just no room then.
        """
        try:
            dropped = await asyncio.to_thread(
                self._store.drop_broken, lambda: self.has_room(wanted_bytes)
            )
        except StoreError as failure:
            self._log.warning("%s; what is kept of damaged files may be in the way", failure)
            return
        for path in dropped:
            self._log.warning("%s: deleted to make room; it was damaged, and kept to look at", path)

    def _index_due(self) -> None:
        self._index_timer = None
        self.flush_index()

    def flush_index(self) -> None:
        """Let the index cover all that has been stored, as it does by itself a moment later.

        Once the link has broken: if this process is killed before the next master goes on under
        another replid, what a start would cut off could not be told from what the old one lost.
        """
        if self.history is None or self.shifting:
            return
        try:
            self.history.journal.flush_index(time.time_ns())
        except DiskFullError as failure:
            self._log.warning(
                "index not written: %s", failure
            )  # the next append or sync tries again

    def _compare_replayed(self, replay: Replay, data: memoryview | bytes) -> memoryview | bytes:
        """Check that re-sent bytes are those already stored, and give back what is new."""
        try:
            new = replay.compare(data)
        except RemoteProtocolError:
            self._end_replay()
            raise
        if replay.over:
            self._end_replay()
        return new

    def _end_replay(self) -> None:
        self._replay = None
        self.readers.unpin(self)

    async def _publish(self, intake: Intake, old: HistoryStore | None) -> None:
        async with self._publishing:
            stored = await self._make_durable(intake, old)
            if self.settling is intake:
                self.settling = None
            self.readers.unpin(intake)
            if old is not None and (stored or not self._closing.is_set()):
                await self._retention.retire(old, self.history)
        if stored:
            stored_as = PeerLogger("journal", replid=intake.history.history.replid)
            stored_as.info(
                "snapshot of %d bytes at offset %d is stored", intake.size, intake.offset
            )
        self.changed()

    async def _make_durable(self, intake: Intake, old: HistoryStore | None) -> bool:
        """Publish an intake and its history, again and again while the disk has no room.

        Who reads the files takes it for the end of the one before, whose index has to be whole.

        Returns:
            False when there was no room before the shutdown, or before another history followed.
        """
        while True:
            try:
                if old is not None:
                    await asyncio.to_thread(old.journal.flush_index, time.time_ns())
                await asyncio.to_thread(intake.publish)
                await asyncio.to_thread(self._store.publish, intake.history)
                return True
            except (DiskFullError, OpenFilesError) as failure:
                self._log.error("%s; trying again: until then a restart needs a full sync", failure)
            if self._closing.is_set() or self.history is not intake.history:
                return False
            await wait_at_most(self._closing, _PUBLISH_RETRY_SECONDS)

    async def _discard_intake(self, intake: Intake) -> None:
        await asyncio.to_thread(intake.discard)
        await self._remove(intake.history)

    async def _remove(self, history: HistoryStore) -> None:
        try:
            await asyncio.to_thread(self._store.discard, history)
        except StoreError as failure:
            self._log.warning("%s; the next start tries again", failure)

    def _task_failed(self, failure: BaseException) -> None:
        self._failure = failure  # `run` raises it
        self.upkeep.call()
