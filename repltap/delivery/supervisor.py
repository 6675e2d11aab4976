"""The sinks of a relay: one worker process each, what is kept for them, and how they are doing.

Nothing here raises into the relay or blocks its loop. Sinks that are run by hand beside it are
seen by their checkpoints: what they need is kept too.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice

from repltap.delivery.handmade import StoredPlace, StoredPlaces
from repltap.delivery.messages import Start
from repltap.delivery.supervised import SupervisedSink
from repltap.delivery.wakeups import Wakeups
from repltap.feed import Feed
from repltap.holds import Hold, SinkHolds
from repltap.lag import Lag
from repltap.position import Offset
from repltap.sink import Sample
from repltap.status.sinks import HandSinkStatus, SinkStatus
from repltap.tasks import OwnedTasks, wait_at_most

log = logging.getLogger("repltap.sink")

_LOOK_SECONDS = 3.0
"""How often the checkpoints are looked at. A history that is replaced is kept for some seconds
anyhow, until its successor is durable."""

_STOP_SECONDS = 10.0
_CATCH_UP_SHARE = 0.8
"""Of that time a worker may use so much to deliver what is stored; the rest is for its commit."""

_MAX_SAMPLES = 10_000
"""Of all sinks together: a scrape of so many takes the loop some 50 ms."""

_POLL_SECONDS = 0.05
_AGAIN_SECONDS = 60.0


class SinkSupervisor:
    """Keeps the configured sinks running.

    Args:
        starts: What the worker of each is told.
        feed: Where the journal is.
        holds: Told what they need.
        want_snapshot: Called when one of them needs a snapshot to be stored, and no stored one
            will do; with a number that tells them apart.
    """

    def __init__(
        self,
        starts: Iterable[Start],
        feed: Feed,
        holds: SinkHolds,
        want_snapshot: Callable[[int], None],
    ) -> None:
        self._feed = feed
        self._holds = holds
        self._want_snapshot = want_snapshot
        self._sinks = {start.sink.name: SupervisedSink(start, self) for start in starts}
        self._lags = {name: Lag(None) for name in self._sinks}
        self._wakeups = Wakeups(feed, self._sinks.values)
        self._places = StoredPlaces(feed.checkpoints)
        self._by_hand: dict[str, StoredPlace] = {}
        self._reported: set[str] = set()
        self._stopping = asyncio.Event()
        self._tasks = OwnedTasks(self._task_failed)

    # -- what the relay calls --------------------------------------------------------------------

    def look(self) -> None:
        """Find out what the checkpoints need; blocking. Before anything is deleted."""
        self._take(self._places.read())

    async def run(self) -> None:
        """Keep the sinks running, and look at the checkpoints, until cancelled."""
        for sink in self._sinks.values():
            self._tasks.spawn(f"sink {sink.name}", sink.run())
        try:
            while True:
                await asyncio.sleep(_LOOK_SECONDS)
                self._take(await asyncio.to_thread(self._places.read))
        finally:
            self._wakeups.stop()
            await self._tasks.cancel()

    async def stop(self) -> None:
        """Let the sinks deliver what is stored and commit, then end their processes.

        To be called when nothing new comes in any more. Cancelling is safe: `run` kills them.
        """
        if not self._sinks:
            return
        self._stopping.set()
        until = time.monotonic() + _STOP_SECONDS
        async with asyncio.TaskGroup() as group:
            for sink in self._sinks.values():
                group.create_task(self._stop_sink(sink, until))

    def hurry(self) -> None:
        """End them now."""
        for sink in self._sinks.values():
            sink.hurry()

    def status(self) -> tuple[SinkStatus, ...]:
        """Show the configured sinks."""
        return tuple(self._status(sink) for sink in self._sinks.values())

    def by_hand(self) -> tuple[HandSinkStatus, ...]:
        """Show the others that have a checkpoint."""
        return tuple(
            HandSinkStatus(
                name=place.sink,
                history_number=place.number,
                offset=place.offset,
                saved_at=place.saved_at,
                pinned_bytes=self._pinned(place.sink),
                lost_bytes=self._holds.lost_bytes[place.sink],
            )
            for place in self._by_hand.values()
        )

    def samples(self) -> list[Sample]:
        """Give what the sinks export."""
        samples = (sample for sink in self._sinks.values() for sample in sink.samples())
        return list(islice(samples, _MAX_SAMPLES))

    # -- what a supervised sink calls ------------------------------------------------------------

    def hold(self, sink: str, number: int, offset: Offset) -> None:
        """Keep what a sink still needs."""
        self._reported.add(sink)
        self._holds.hold(sink, number, offset)

    def waits(self, sink: SupervisedSink) -> None:
        """Have a worker woken when there is more."""
        self._wakeups.waits(sink)

    def wants_snapshot(self, sink: SupervisedSink) -> None:
        """Have a snapshot fetched, unless one that the journal joins is there already."""
        if self._feed.shelf.newest(_any_format) is not None:
            sink.wake()
        elif not self._feed.shelf.verifying:
            # Replicas are told apart by connection ids, which are positive.
            self._want_snapshot(-1 - list(self._sinks).index(sink.name))

    # -- inside ----------------------------------------------------------------------------------

    async def _stop_sink(self, sink: SupervisedSink, until: float) -> None:
        catch_up = until - _STOP_SECONDS * (1 - _CATCH_UP_SHARE)
        while time.monotonic() < catch_up and sink.delivering:
            if self._wakeups.caught_up(sink):
                break
            await asyncio.sleep(_POLL_SECONDS)
        await sink.stop(max(0.1, until - time.monotonic()))

    def _take(self, places: dict[str, StoredPlace]) -> None:
        """Keep what checkpoints need of sinks that don't say it themselves."""
        others = {name: place for name, place in places.items() if name not in self._sinks}
        for name in self._by_hand.keys() - others.keys():
            self._holds.release(name)
        for name, place in others.items():
            if name not in self._by_hand:
                log.info(
                    "%s is not configured here and has a checkpoint: what follows offset %d is "
                    "kept for it; `repltap sink reset %s` forgets it",
                    name,
                    place.offset,
                    name,
                )
            self._holds.hold(name, place.number, place.offset)
        self._by_hand = others
        for name in self._sinks.keys() & places.keys() - self._reported:
            self._holds.hold(name, places[name].number, places[name].offset)

    def _status(self, sink: SupervisedSink) -> SinkStatus:
        shown = sink.status()
        hold = self._holds.of(sink.name)
        lag_bytes = None if hold is None else self._behind(hold)
        return replace(
            shown,
            pinned_bytes=lag_bytes or 0,
            lost_bytes=self._holds.lost_bytes[sink.name],
            lag_bytes=lag_bytes,
            lag_seconds=None if hold is None else self._lag_seconds(sink.name, hold),
        )

    def _pinned(self, sink: str) -> int:
        hold = self._holds.of(sink)
        return 0 if hold is None else self._behind(hold)

    def _behind(self, hold: Hold) -> int:
        """Tell how much of the stream is stored from a place on."""
        total = 0
        for history in self._feed.histories():
            journal = history.journal
            if history.number == hold.number:
                total += max(0, journal.end - max(hold.offset, journal.start))
            elif history.number > hold.number:
                total += journal.end - journal.start
        return total

    def _lag_seconds(self, sink: str, hold: Hold) -> float | None:
        for history in self._feed.histories():
            if history.number < hold.number:
                continue
            journal = history.journal
            first = hold.offset if history.number == hold.number else journal.start
            # A history that it has finished it has not left yet: the next one tells.
            if first < journal.end or history is self._feed.history:
                return self._lags[sink].measure(journal, first, time.monotonic())
        return None

    def _task_failed(self, failure: BaseException) -> None:
        """Something in here is wrong: say so, and try the sinks that have stopped again later."""
        log.error("the supervision of a sink has failed; trying again later", exc_info=failure)
        if not self._stopping.is_set():
            self._tasks.spawn("sinks again", self._again())

    async def _again(self) -> None:
        if await wait_at_most(self._stopping, _AGAIN_SECONDS):
            return
        for sink in self._sinks.values():
            if sink.stopped:
                self._tasks.spawn(f"sink {sink.name}", sink.run())


def _any_format(_format: str) -> bool:
    return True
