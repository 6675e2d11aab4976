"""What is deleted, and when: journal, snapshots, and readers that fell too far behind.

The journal keeps `retain_bytes` for replicas that come back, less where those are older than
`retain_seconds`. A stored snapshot and every reader hold it back further, up to `pin_limit_bytes`
or what the quota allows. Past that a snapshot is removed, a reader is dropped; the master is never
made to wait.

Of each format the newest snapshot is kept, whatever its age: while the master can't be asked for
another, it is all that a new replica can be given.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from repltap.ages import JournalAge
from repltap.config import StoreConfig
from repltap.endings import DisconnectReason
from repltap.errors import OpenFilesError
from repltap.position import Offset
from repltap.store.history import HistoryStore
from repltap.store.journal import Journal
from repltap.store.snapshots import Snapshot
from repltap.store.store import Store

log = logging.getLogger("repltap.journal")

_WORKING_ROOM_BYTES = 4 << 20
"""A journal reserves a part of this ahead, and an index record must always fit."""

_WORKING_SHARE = 16
"""Of a small quota, no more than this part is set aside as working room."""


class Reader(Protocol):
    """Somebody who reads a history."""

    @property
    def pin(self) -> Offset:
        """The lowest offset it still needs."""

    def wake(self) -> None:
        """Bytes it waits for have arrived."""

    def drop(self, reason: DisconnectReason, detail: str) -> None:
        """Its history has ended, or it fell behind the limit: it must go."""


class Retention:
    """The limits on what is kept.

    Args:
        store: What takes the room.
        config: The limits.

    Attributes:
        working_room_bytes: With less room than this there is no point in reading on.
    """

    def __init__(self, store: Store, config: StoreConfig) -> None:
        self._store = store
        self._config = config
        seconds = config.retain_seconds
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
        journal = history.journal
        limit = self._pin_limit(history)
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
        keep = min([returning, *needed])
        trimmed = journal.trim(Offset(max(keep, floor, 0)))
        if trimmed.paths:
            await asyncio.to_thread(trimmed.delete)
            log.debug(
                "journal trimmed by %d bytes to offset %d", trimmed.freed_bytes, journal.start
            )
        await self._remove_snapshots(history, superseded, floor)

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
                log.info(
                    "snapshot at offset %d removed: the journal after it has outgrown the limit; "
                    "the next full sync fetches another from the master",
                    snapshot.offset,
                )
            try:
                await asyncio.to_thread(history.snapshots.remove, snapshot)
            except OpenFilesError as failure:
                # Its files are gone; only the directory could not be opened to be fsynced.
                log.warning("%s; a power failure may bring a removed snapshot back", failure)

    def _pin_limit(self, history: HistoryStore) -> int:
        limit = max(self._config.pin_limit_bytes, self._config.retain_bytes)
        if self._config.quota_bytes is None:
            return limit
        others = self._store.disk_bytes() - history.journal.disk_bytes
        # Whole segments are deleted, and reading stops at one working room: stay clear of both.
        segment = self._store.options.segment_bytes
        room = self._config.quota_bytes - others - 2 * segment - 2 * self.working_room_bytes
        return max(segment, min(limit, room))
