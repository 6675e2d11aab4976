"""What is deleted, and when: journal, snapshots, and readers that fell too far behind.

The journal keeps `retain_bytes` for replicas that come back, less where those are older than
`retain_seconds`. A stored snapshot and every reader hold it back further, up to `pin_limit_bytes`
or what the quota allows. Past that a snapshot is removed, a reader is dropped; the master is never
made to wait.

What sinks need is kept beyond that, as far as there is room: histories that are served no longer,
and journal. When it is short the oldest is let go first.

Of each format the newest snapshot is kept, whatever its age: while the master can't be asked for
another, it is all that a new replica can be given.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from repltap.ages import JournalAge
from repltap.config import StoreConfig
from repltap.endings import DisconnectReason
from repltap.errors import OpenFilesError, StoreError
from repltap.holds import SinkHolds
from repltap.logs import history_log
from repltap.position import Offset
from repltap.readers import Reader
from repltap.store.history import HistoryStore
from repltap.store.journal import Journal
from repltap.store.snapshots import Snapshot
from repltap.store.store import Store

log = logging.getLogger("repltap.journal")

_WORKING_ROOM_BYTES = 4 << 20
"""A journal reserves a part of this ahead, and an index record must always fit."""

_WORKING_SHARE = 16
"""Of a small quota, no more than this part is set aside as working room."""


class Retention:
    """The limits on what is kept.

    Args:
        store: What takes the room.
        config: The limits.
        holds: What sinks need.

    Attributes:
        working_room_bytes: With less room than this there is no point in reading on.
    """

    def __init__(self, store: Store, config: StoreConfig, holds: SinkHolds) -> None:
        self._store = store
        self._config = config
        self._holds = holds
        seconds = config.retain_seconds
        self._relayed = (0, Offset(0))  # what has to be kept of which history without sinks
        self._age = JournalAge(seconds) if seconds is not None else None
        quota_bytes = config.quota_bytes
        self.working_room_bytes = _WORKING_ROOM_BYTES
        if quota_bytes is not None:
            self.working_room_bytes = min(_WORKING_ROOM_BYTES, quota_bytes // _WORKING_SHARE)

    async def apply(
        self,
        history: HistoryStore,
        readers: Callable[[], Iterable[Reader]],
        pins: Callable[[], Iterable[Offset]],
    ) -> None:
        """Delete what is no longer kept.

        Args:
            history: The one that is served.
            readers: Tells who reads it.
            pins: Tells what else needs the journal, and from where on.

        Raises:
            StoreError: The disk failed.
        """
        await self.drop_histories(history)
        journal = history.journal
        limit = self.pin_limit(history)
        floor = Offset(journal.end - limit)
        expired = self._expired(journal)
        # Up to the trim nothing waits: whoever is granted something is in the lists. A disk that
        # takes its time must not let who is too slow stay meanwhile.
        kept, superseded = self._sort_snapshots(history, floor)
        needed = [snapshot.offset for snapshot in kept]
        needed += pins()
        for reader in readers():
            if reader.pin >= floor:
                needed.append(reader.pin)
                continue
            reader.drop(
                DisconnectReason.LAG_BYTES,
                f"{journal.end - reader.pin} bytes behind, more than the limit of {limit}: it may "
                "come back by partial resync while the journal holds its offset",
            )
        returning = max(journal.end - self._config.retain_bytes, expired)
        keep = Offset(max(min([returning, *needed]), floor, 0))
        self._relayed = (history.number, keep)
        await self._trim(history, self._for_sinks(history, keep, self._spare_bytes))
        await self._remove_snapshots(history, superseded, floor)

    async def retire(self, old: HistoryStore, served: HistoryStore | None) -> None:
        """Remove a history that is served no longer, or keep it for the sinks that need it.

        Args:
            old: The one that was served.
            served: The one that is.
        """
        # What was never published no sink has seen.
        if not old.published or not self._holds.need(old.number):
            await self._discard(old)
            return
        try:
            # What was received since the last record would not be read.
            await asyncio.to_thread(old.journal.flush_index, time.time_ns())
        except StoreError as failure:
            log.warning("index not written: %s", failure)
        history_log(old.history.replid).info(
            "%s is kept for the sinks that have not delivered it", old.path.name
        )
        await self.drop_histories(served)

    async def drop_histories(self, served: HistoryStore | None) -> None:
        """Remove the histories before the one that is served that no sink needs, or for room.

        What can't be removed is tried again later.

        Args:
            served: The one that is; none that came after it is touched.
        """
        for old in self._store.others():
            if served is None or old.number >= served.number:
                return
            if self._holds.need(old.number):
                if not self._lacking(self._spare_bytes):
                    return  # as are all that follow
                self._holds.let_go(old.number, old.journal.start, old.journal.end)
            await self._discard(old)

    async def make_room(self, history: HistoryStore, wanted_bytes: int) -> None:
        """Let go of what only sinks need, the oldest first, until this much more may be stored.

        Args:
            history: The one that is served.
            wanted_bytes: How much.

        Raises:
            StoreError: The disk failed.
        """
        wanted_bytes += self.working_room_bytes
        for old in self._store.others():
            if old.number >= history.number or not self._lacking(wanted_bytes):
                break
            self._holds.let_go(old.number, old.journal.start, old.journal.end)
            await self._discard(old)
        number, keep = self._relayed
        if number == history.number and self._lacking(wanted_bytes):
            await self._trim(history, self._for_sinks(history, keep, wanted_bytes))

    def _for_sinks(self, history: HistoryStore, keep: Offset, wanted_bytes: int) -> Offset:
        """Tell from where on the journal is kept, given what has to be kept without sinks."""
        needed = self._holds.lowest(history.number)
        if needed is None or needed >= keep:
            return keep
        journal = history.journal
        lacking = self._lacking(wanted_bytes)
        allowed = journal.start
        for segment in journal.segments:
            if lacking <= 0:
                break
            lacking -= segment.disk_bytes
            allowed = segment.end
        return min(keep, max(needed, allowed))

    async def _trim(self, history: HistoryStore, keep: Offset) -> None:
        journal = history.journal
        start = journal.start
        trimmed = journal.trim(keep)
        if not trimmed.paths:
            return
        self._holds.let_go(history.number, start, journal.start)
        await asyncio.to_thread(trimmed.delete)
        history_log(history.history.replid).debug(
            "journal trimmed by %d bytes to offset %d", trimmed.freed_bytes, journal.start
        )

    async def _discard(self, history: HistoryStore) -> None:
        try:
            await asyncio.to_thread(self._store.discard, history)
        except StoreError as failure:
            log.warning("%s; the next start tries again", failure)

    @property
    def usable_bytes(self) -> int | None:
        """What of the quota may be stored before consumers lose journal; None without a quota."""
        quota_bytes = self._config.quota_bytes
        if quota_bytes is None:
            return None
        return max(self._store.options.segment_bytes, quota_bytes - self._spare_bytes)

    @property
    def _spare_bytes(self) -> int:
        """What sinks leave free: enough that others are never in want of it."""
        return 2 * self._store.options.segment_bytes + 2 * self.working_room_bytes

    def _lacking(self, wanted_bytes: int) -> int:
        return self._store.lacking_bytes(wanted_bytes, self._config.min_free_bytes)

    def _expired(self, journal: Journal) -> Offset:
        """Tell below which offset the journal is too old to be kept for who comes back."""
        if self._age is None:
            return journal.start
        try:
            return self._age.expired(journal)
        except OpenFilesError:
            return journal.start  # it has time: asked again in a second

    @staticmethod
    def _sort_snapshots(
        history: HistoryStore, floor: Offset
    ) -> tuple[list[Snapshot], list[Snapshot]]:
        """Keep only the newest snapshot of each format, if its tail is held and within the limit.

        Returns:
            What stays, and what is to be removed.
        """
        kept: dict[str, Snapshot] = {}
        superseded = []
        # Journal that was found damaged is given up, whatever needs it; nothing joins it there.
        floor = max(floor, history.journal.start)
        for snapshot in history.snapshots.all:
            if snapshot.format not in kept and snapshot.offset >= floor:
                kept[snapshot.format] = snapshot
            else:
                superseded.append(snapshot)
        return list(kept.values()), superseded

    @staticmethod
    async def _remove_snapshots(
        history: HistoryStore, superseded: list[Snapshot], floor: Offset
    ) -> None:
        for snapshot in superseded:
            if snapshot.offset < floor:
                history_log(history.history.replid).info(
                    "snapshot at offset %d removed: the journal after it has outgrown the limit; "
                    "the next full sync fetches another from the master",
                    snapshot.offset,
                )
            try:
                await asyncio.to_thread(history.snapshots.remove, snapshot)
            except OpenFilesError as failure:
                # Its files are gone; only the directory could not be opened to be fsynced.
                log.warning("%s; a power failure may bring a removed snapshot back", failure)

    def pin_limit(self, history: HistoryStore) -> int:
        """Tell how many bytes of journal a snapshot or a reader may hold back now.

        Args:
            history: The one that is served.
        """
        limit = max(self._config.pin_limit_bytes, self._config.retain_bytes)
        if self._config.quota_bytes is None:
            return limit
        others = self._store.disk_bytes() - history.journal.disk_bytes
        # Whole segments are deleted, and reading stops at one working room: stay clear of both.
        segment = self._store.options.segment_bytes
        room = self._config.quota_bytes - others - 2 * segment - 2 * self.working_room_bytes
        return max(segment, min(limit, room))
