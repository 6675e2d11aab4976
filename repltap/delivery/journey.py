"""The way of a sink through all that is stored: snapshots, streams, and what lies between.

It knows the order of things and nothing of the target. Each step has what the sink is given next,
of one class, and the place behind it; beginning a journey at any such place gives the rest, with
the same ids. Steps never wait: there is none where nothing can be given just now.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

from repltap.delivery.follow import Followed, Found, Renamed, StreamFollower, Trimmed
from repltap.delivery.histories import (
    earliest,
    has_later,
    latest,
    locate,
    next_history,
    stored_histories,
)
from repltap.delivery.names import name_at
from repltap.delivery.notices import Notices
from repltap.delivery.place import Phase, Place
from repltap.delivery.plan import Plan, Step
from repltap.delivery.snapshots import (
    Part,
    Shelf,
    SnapshotFeed,
    SnapshotReading,
    begin_place,
    stream_db,
)
from repltap.delivery.stream import StreamState
from repltap.errors import NotRetainedError, SinkError, SinkErrorKind
from repltap.excerpt import database_at
from repltap.position import Offset
from repltap.sink import Notice, SnapshotMode
from repltap.store.reader import HistoryReader
from repltap.store.snapshot import Snapshot

_RENEWING = (SnapshotMode.WHEN_NEEDED, SnapshotMode.ALWAYS)


class Journey:
    """Goes on from a place.

    Args:
        plan: What is wanted.
        place: Where; None for the very beginning.
        shelf: Finds snapshots.
        reading: Who is told what is read of snapshots; None for nobody.
        want_snapshot: Asks for a snapshot to be stored.
        log: For what an operator should know.
        again: A snapshot is to be given first though there is a place: the mode says so.
        given: What was given before without being committed ends here, None for nothing.

    Attributes:
        place: Where it stands; None before it is known.
        waiting: For what, "" for nothing but what the master sends.
    """

    def __init__(
        self,
        plan: Plan,
        place: Place | None,
        *,
        shelf: Shelf,
        want_snapshot: Callable[[], None],
        log: logging.Logger,
        reading: SnapshotReading | None = None,
        again: bool = False,
        given: Place | None = None,
    ) -> None:
        if again and place is not None and place.phase is Phase.STREAM:
            place = place.wanting()
        self.place = place
        self.waiting = ""
        self._plan = plan
        self._shelf = shelf
        self._want_snapshot = want_snapshot
        self._log = log
        self._reading = reading
        self._notices = Notices(plan.source)
        self._given = given
        self._follower: StreamFollower | None = None
        self._feed: SnapshotFeed | None = None
        self._parts: Iterator[Part] = iter(())
        self._gap_start: Offset | None = None  # where a gap begins that a snapshot is to bridge
        self._following: Step | None = None  # what has to follow a step without a place

    @property
    def at_end(self) -> bool:
        """Tell whether everything that is stored has been given."""
        return bool(self.waiting) or (self._follower is not None and self._follower.at_end)

    def close(self) -> None:
        """Let go of everything; can be repeated."""
        self._follower = None
        if self._feed is not None:
            self._feed.close()
            self._feed = None

    def next(self) -> Step | None:
        """Give what comes next, None for nothing just now.

        Raises:
            StoreError: What is stored can't be read.
            RdbError: A snapshot holds what is not known.
            RemoteProtocolError: The stream holds something that is no command.
            SinkError: There is a gap, and the plan is to stop there.
        """
        self.waiting = ""
        step = self._next()
        if step is not None and step.place is not None:
            self.place = step.place
        return step

    def _next(self) -> Step | None:
        if self._following is not None:
            step, self._following = self._following, None
            return step
        place = self.place
        if place is None:
            return self._begin()
        if place.phase is Phase.SNAPSHOT:
            return self._snapshot_step(place)
        if place.phase is Phase.STREAM and self._gap_start is None:
            return self._stream_step(place)
        return self._choose(place)

    # -- the beginning -----------------------------------------------------------------------------

    def _begin(self) -> Step | None:
        histories = stored_histories(self._plan.data_dir)
        if not histories:
            self.waiting = "for a history to be stored"
            return None
        newest = histories[-1]
        if self._plan.mode is not SnapshotMode.NEVER:
            metadata = newest.metadata
            place = Place(
                phase=Phase.WANTED,
                history=newest.number,
                replid=metadata.history.replid,
                offset=newest.journal().start,
            )
            return Step(records=(), place=place)
        found = latest(newest, self._shelf.pulse) if self._plan.latest else None
        for history in () if self._plan.latest else histories:
            # Of an old one that was trimmed nothing but the end of a command may be left.
            if (found := earliest(history, self._shelf.pulse)) is not None:
                break
        if found is None:
            self.waiting = "for the first command"
            return None
        # Committed at once: what comes in from here on is not to be missed after a crash.
        return Step(records=(), place=found, commit_after=True)

    # -- the stream --------------------------------------------------------------------------------

    def _stream_step(self, place: Place) -> Step | None:
        if self._follower is None:
            history = self._locate(place)
            if history is None:
                return self._lost(place)
            place = place.in_history(history.number)
            self._follower = self._follow(history, place)
        found: Followed | Step | None = self._follower.next()
        if found is None:
            found = self._at_end(place)
        if found is None or isinstance(found, Step):
            return found
        if isinstance(found, Found):
            return Step(
                records=found.records,
                place=found.place,
                window=found.window,
                window_start=found.window_start,
                size=found.size,
            )
        self._follower = None
        if isinstance(found, Renamed):
            return self._renamed(found)
        if isinstance(found, Trimmed):
            return self._trimmed(place)
        return self._lost(place)

    def _locate(self, place: Place) -> HistoryReader | None:
        """Find the history of the place, and what its number is here."""
        history = locate(stored_histories(self._plan.data_dir), place)
        if history is not None:
            self.place = place.in_history(history.number)
        return history

    def _follow(self, history: HistoryReader, place: Place) -> StreamFollower:
        plan, given = self._plan, self._given
        self._given = None
        same = given is not None and given.phase is Phase.STREAM and given.replid == place.replid
        return StreamFollower(
            history,
            place,
            table=plan.table,
            source=plan.source,
            accepts=plan.accepts,
            limits=plan.limits,
            pulse=self._shelf.pulse,
            given_until=given.offset if given is not None and same else 0,
        )

    def _at_end(self, place: Place) -> Followed | Step | None:
        """Look for a later history, and then once more for the rest of this one."""
        if self._follower is None or not has_later(self._plan.data_dir, place.history):
            return None
        found = self._follower.next()
        later = next_history(stored_histories(self._plan.data_dir), place)
        if found is not None or later is None or not self._follower.at_end:
            return found
        if abandoned := self._follower.abandon():
            self._log.warning(
                "history %s ends within a transaction of %d commands, which nobody has executed",
                place.history,
                abandoned,
            )
        self._follower = None
        return self._full_resync(place, later)

    def _renamed(self, found: Renamed) -> Step:
        place = found.place
        taken_back = found.delivered_until > place.offset
        if found.abandoned:
            self._log.warning(
                "a failover at offset %d has cut off a transaction of %d commands",
                place.offset,
                found.abandoned,
            )
        self._log.info(
            "a failover: %s goes on as %s at offset %d, %d bytes are taken back",
            found.previous,
            place.replid,
            place.offset,
            found.delivered_until - place.offset,
        )
        notice = self._notices.failover(found.previous, place, found.delivered_until)
        if taken_back and self._plan.mode in _RENEWING:
            place = place.wanting()
        return _boundary(notice, place)

    def _full_resync(self, place: Place, later: HistoryReader) -> Step:
        arrived = self._at_start(later)
        self._log.info(
            "a full resync: history %d (%s) is followed by %d (%s)",
            place.history,
            place.replid,
            arrived.history,
            arrived.replid,
        )
        notice = self._notices.full_resync(place, arrived)
        if place.phase is not Phase.STREAM or self._plan.mode in _RENEWING:
            return _boundary(notice, arrived.wanting())  # one was promised, or is due
        if place.replid == arrived.replid and place.offset > arrived.offset:
            # It comes from a replica of the same master that is behind: the bytes are the same.
            arrived = place.in_history(arrived.history)
        return _boundary(notice, arrived)

    def _end_of(self, history: HistoryReader) -> Place | None:
        """Give the end of a history in which no command begins any more, if another follows."""
        if not has_later(self._plan.data_dir, history.number):
            return None
        end = history.journal().end()
        replid = name_at(history.metadata.history, end)
        return Place.stream(history.number, replid, StreamState(end, None))

    def _at_start(self, history: HistoryReader) -> Place:
        metadata = history.metadata
        start = metadata.start_offset
        state = StreamState(start, metadata.start_db)
        return Place.stream(history.number, name_at(metadata.history, start), state)

    # -- what is missing ---------------------------------------------------------------------------

    def _trimmed(self, place: Place) -> Step | None:
        """The journal was let go past the place."""
        self._refuse_gap(place)
        if self._plan.mode in _RENEWING:
            self._gap_start = place.offset
            return self._choose(place)
        history = self._locate(place)
        if history is None:
            return self._lost(place)
        try:
            found = earliest(history, self._shelf.pulse) or self._end_of(history)
        except NotRetainedError:
            return None  # it was trimmed on meanwhile: the next step looks again
        if found is None:
            self.waiting = "for a command to begin behind a gap"
            return None
        return self._gap(place.offset, found)

    def _lost(self, place: Place) -> Step | None:
        """The history was removed, or is another relay's."""
        histories = stored_histories(self._plan.data_dir)
        if not histories:
            self.waiting = "for a history to be stored"
            return None
        later = next_history(histories, place) or histories[-1]
        resync = self._full_resync(place, later)
        if place.phase is not Phase.STREAM:
            return resync  # nothing of its stream has been promised
        self._refuse_gap(place)
        self._gap_start = None
        # With the place behind it this is committed, or neither is.
        self._following = replace(resync, commit_before=False)
        self._log.warning(
            "history %d (%s) was removed before it was delivered beyond offset %d",
            place.history,
            place.replid,
            place.offset,
        )
        notice = self._notices.lost_history(place, self._at_start(later))
        return Step(records=(notice,), place=None, commit_before=True)

    def _gap(self, start: Offset, place: Place) -> Step:
        self._log.warning(
            "offsets %d to %d of %s were let go before they could be delivered",
            start,
            place.offset,
            place.replid,
        )
        return Step(records=(self._notices.gap(start, place),), place=place)

    def _refuse_gap(self, place: Place) -> None:
        if self._plan.on_gap_stop:
            raise SinkError(
                f"the journal does not hold offset {place.offset} of {place.replid} any more, "
                "and on_gap is stop",
                hint="set on_gap = continue, or begin anew with `repltap sink reset`",
                kind=SinkErrorKind.SOURCE,
                passes=False,
            )

    # -- snapshots ---------------------------------------------------------------------------------

    def _choose(self, place: Place) -> Step | None:
        """Choose a snapshot to go on with."""
        history = self._locate(place)
        if history is None:
            return self._lost(place)
        place = place.in_history(history.number)
        snapshot = self._shelf.newest(history)
        if snapshot is None:
            later = next_history(stored_histories(self._plan.data_dir), place)
            if later is not None:
                self._gap_start = None
                return self._full_resync(place, later)
            self._want_snapshot()
            self.waiting = "for a snapshot"
            return None
        names = history.metadata.history
        chosen = begin_place(history.number, name_at(names, snapshot.offset), snapshot)
        if self._gap_start is None:
            return Step(records=(), place=chosen)
        begun, self._gap_start = self._gap_start, None
        return self._gap(begun, chosen)

    def _snapshot_step(self, place: Place) -> Step | None:
        feed = self._feed or self._open_feed(place)
        if feed is None:
            # It is gone; another one begins from its beginning.
            self.place = place.wanting()
            return self._choose(self.place)
        if not place.begun:
            self._log.info(
                "delivers the snapshot at offset %d, %d bytes",
                place.offset,
                feed.snapshot.size_bytes,
            )
            notice = self._notices.snapshot_begin(feed.snapshot, place)
            return Step(records=(notice,), place=replace(place, ordinal=0))
        part = next(self._parts, None)
        if part is not None:
            going_on = replace(place, ordinal=part.ordinal)
            return Step(records=part.records, place=going_on, size=part.size)
        snapshot = feed.snapshot
        for what, count in feed.losses.counts.items():
            self._log.warning("the snapshot holds what is no record: %s (%d)", what, count)
        self.close()
        going_on = self._behind(snapshot, place)
        return Step(records=(self._notices.snapshot_end(place),), place=going_on, commit_after=True)

    def _open_feed(self, place: Place) -> SnapshotFeed | None:
        history = self._locate(place)
        snapshot = None if history is None else self._shelf.same(history, place)
        if snapshot is None:
            return None
        try:
            feed = SnapshotFeed(
                snapshot, replid=place.replid, source=self._plan.source, reading=self._reading
            )
        except NotRetainedError:
            return None
        self._feed = feed
        self._parts = feed.parts(max(place.ordinal, 0))
        return feed

    def _behind(self, snapshot: Snapshot, place: Place) -> Place:
        """Give the place in the stream that follows a snapshot."""
        db = stream_db(snapshot)
        if db is None:
            history = locate(stored_histories(self._plan.data_dir), place)
            view = None if history is None else history.journal()
            if history is not None and view is not None and view.start <= place.offset:
                db = database_at(history.metadata, view, place.offset, self._shelf.pulse)
        return Place.stream(place.history, place.replid, StreamState(place.offset, db))


def _boundary(notice: Notice, place: Place) -> Step:
    return Step(records=(notice,), place=place, commit_before=True)
