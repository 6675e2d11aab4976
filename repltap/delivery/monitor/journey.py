"""The way of the monitor process through the store: from a place on, wherever the master goes.

Steps never wait. As a replica's MONITOR does, it goes on over failovers and full syncs.
"""

from __future__ import annotations

import logging
from pathlib import Path

from repltap.delivery.commands import CommandTable
from repltap.delivery.follow import Decoding, Gone, Renamed, StreamFollower, Trimmed
from repltap.delivery.histories import has_later, next_history, stored_histories
from repltap.delivery.monitor.display import Display
from repltap.delivery.monitor.messages import Place
from repltap.delivery.names import name_at
from repltap.delivery.place import Place as StoredPlace
from repltap.delivery.snapshots import stream_db
from repltap.delivery.stream import StreamState
from repltap.errors import NotRetainedError
from repltap.excerpt import command_end, database_at
from repltap.position import Offset
from repltap.store.reader import HistoryReader, JournalReader

log = logging.getLogger("repltap.monitor")

_PATIENCE = 100
"""Looks, of 50 ms each, for bytes that a failover may have taken back meanwhile."""


class FellBehindError(Exception):
    """The journal does not hold what is to be shown next."""


class MonitorJourney:
    """Shows what is stored.

    Args:
        data_dir: Where it is stored.
        place: Where to begin; None for the beginning of whatever is stored first.
        table: What is known of commands.
        display: What shows it.
    """

    def __init__(
        self, data_dir: Path, place: Place | None, table: CommandTable, display: Display
    ) -> None:
        self._data_dir = data_dir
        self._place = place
        self._table = table
        self._display = display
        self._follower: StreamFollower | None = None
        self._at: StoredPlace | None = None  # of the follower
        self._looks = 0

    def step(self) -> bool:
        """Go on by a step; false where there is nothing more just now.

        Raises:
            FellBehindError: What comes next has been trimmed.
            StoreError: What is stored can't be read.
            RemoteProtocolError: The stream holds something that is no command.
        """
        if self._follower is None or self._at is None:
            return self._begin()
        found = self._follower.next()
        if found is None:
            if not has_later(self._data_dir, self._at.history):
                self._display.answer()
                return False
            # What has come in between the two looks belongs to the history that ends here.
            found = self._follower.next()
            if found is None:
                return self._follower.at_end and self._go_over()
        if isinstance(found, Renamed):
            self._display.answer(all_of_history=True)
            self._follow(self._history(), found.place)
        elif isinstance(found, Trimmed):
            raise FellBehindError
        elif isinstance(found, Gone):
            return self._go_over()
        return True

    def _begin(self) -> bool:
        histories = stored_histories(self._data_dir)
        place = self._place
        if place is None:
            if not histories:
                return False
            return self._follow_from_start(histories[0])
        later = [history for history in histories if history.number >= place.number]
        if not later:
            return False  # it is being received
        if later[0].number > place.number:
            return self._follow_from_start(later[0])
        history = later[0]
        view = history.journal()
        if not view.segments:
            return False
        if view.start > place.offset:
            raise FellBehindError
        end = view.end()
        if end < place.offset and self._looks < _PATIENCE:
            self._looks += 1
            return False  # the index does not cover it yet
        try:
            start = command_end(view, Offset(min(end, place.offset)))
            state = StreamState(start, _database(history, view, start))
        except NotRetainedError as exc:
            raise FellBehindError from exc
        replid = name_at(history.metadata.history, start)
        return self._follow(history, StoredPlace.stream(history.number, replid, state))

    def _go_over(self) -> bool:
        """Leave a history that is finished, or gone, for the next one."""
        assert self._at is not None
        later = next_history(stored_histories(self._data_dir), self._at)
        return later is not None and self._follow_from_start(later)

    def _follow_from_start(self, history: HistoryReader) -> bool:
        metadata = history.metadata
        start = metadata.start_offset
        state = StreamState(start, metadata.start_db)
        replid = name_at(metadata.history, start)
        return self._follow(history, StoredPlace.stream(history.number, replid, state))

    def _follow(self, history: HistoryReader | None, at: StoredPlace) -> bool:
        if history is None:
            raise FellBehindError
        log.debug("shows history %d from offset %d on", at.history, at.offset)
        self._at = at

        def decode(state: StreamState) -> Decoding:
            return self._display.decode(at.history, state)

        self._follower = StreamFollower(history, at, table=self._table, source="", decode=decode)
        return True

    def _history(self) -> HistoryReader | None:
        assert self._at is not None
        number = self._at.history
        return next((h for h in stored_histories(self._data_dir) if h.number == number), None)


def _database(history: HistoryReader, view: JournalReader, at: Offset) -> int | None:
    """Find out which database is selected: from the journal, or else from a snapshot.

    A master that uses one database selects it once for each full sync that it gives, so the
    journal may hold no SELECT at all. Then none lies between a snapshot's offset and here.
    """
    found = database_at(history.metadata, view, at)
    if found is None:
        for snapshot in history.snapshots()[0]:
            if view.start <= snapshot.offset <= at:
                return stream_db(snapshot)
    return found
