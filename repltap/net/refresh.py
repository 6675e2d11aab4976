"""When another snapshot is fetched from the master, and for whom.

One fetch serves all who wait, and one runs at a time. It is done for a replica that no stored
snapshot can serve, or that only one with too long a tail could, and on schedule. The master is
spared: it is asked only while it streams to us and there is room for what it would send, and what
failed is left alone for a while (`setbacks`).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field, replace

from repltap.config import SnapshotConfig
from repltap.errors import ReplTapError, UpstreamError
from repltap.feed import Feed
from repltap.intake import Intake
from repltap.logs import PeerLogger
from repltap.net.refresh_run import AbandonedError, BehindError, RefreshRun
from repltap.net.role import is_master
from repltap.net.setbacks import Setbacks
from repltap.net.staleness import Staleness
from repltap.net.upstream import UpstreamLink
from repltap.rdb.compatibility import Wanted
from repltap.status.refresh import RefreshFailureStatus, RefreshReason, RefreshStatus
from repltap.store.snapshots import Snapshot
from repltap.tasks import wait_at_most

_POLL_SECONDS = 0.5
_MAX_REQUESTS = 16
"""Different versions of Valkey that may wait for a snapshot at once."""

_LAPSE_SECONDS = 3.0
"""Who waits asks again each second; who has not for so long has gone."""

_WHY = {
    RefreshReason.NO_SNAPSHOT: "none is stored",
    RefreshReason.FORMAT: "none that is stored can be loaded by who wants one",
    RefreshReason.TAIL: "much journal follows the one that is stored",
    RefreshReason.AGE: "the one that is stored is old",
    RefreshReason.SCHEDULE: "it is time for another",
    RefreshReason.SINK: "a sink needs one, and none that the journal joins is stored",
}


@dataclass(slots=True)
class _Request:
    """What some replicas wait for."""

    wanted: Wanted
    reason: RefreshReason
    since: float
    waiters: dict[int, float] = field(default_factory=dict)  # id -> when it last asked

    def count(self, now: float) -> int:
        """Count those who still wait."""
        self.waiters = {n: at for n, at in self.waiters.items() if now - at < _LAPSE_SECONDS}
        return len(self.waiters)


class SnapshotRefresher:
    """At most one fetch at a time.

    Args:
        feed: Where the snapshot goes.
        link: The main link: its master is asked, and only while it streams.
        config: Which snapshots are too old, and the schedule.
        listening_port: What to announce.

    Attributes:
        counts: How many have been stored, by `RefreshReason`.
        failures: How many tries came to nothing.
        failure: The last of them, None when one has succeeded since.
    """

    def __init__(
        self, feed: Feed, link: UpstreamLink, config: SnapshotConfig, *, listening_port: int
    ) -> None:
        self._feed = feed
        self._link = link
        self._listening_port = listening_port
        self._staleness = Staleness(config)
        self._setbacks = Setbacks(_now, lambda: (feed.generation, link.config))
        # A full resync is a change of the generation: that must not shorten the next wait.
        self._resyncs = Setbacks(_now, lambda: link.config)
        self._requests: dict[Wanted, _Request] = {}
        self._signal = asyncio.Event()
        self._fetch: RefreshRun | None = None
        self._reason = RefreshReason.NO_SNAPSHOT  # of the fetch that runs
        self._last: tuple[Snapshot, float] | None = None  # the last one fetched, and when
        self.counts: Counter[str] = Counter()
        self.failures = 0
        self.failure: RefreshFailureStatus | None = None

    # -- what serving asks -----------------------------------------------------------------------

    @property
    def arriving(self) -> Intake | None:
        """A snapshot that has begun to arrive; None when it may be of another history by now."""
        fetch = self._fetch
        if fetch is None or fetch.intake is None or not fetch.same:
            return None
        # One that was broken off is still being deleted: who began to read it now would never be
        # told that no more of it comes.
        going_on = fetch.intake.started and not fetch.intake.failed
        return fetch.intake if going_on and fetch.joined else None

    def objection(self, snapshot: Snapshot, since: float) -> RefreshReason | None:
        """Say why a stored snapshot should not be sent while a newer one can be had.

        Args:
            snapshot: The newest that will do.
            since: When the replica asked, event loop's clock. What was complete after that is
                always good enough: else a master that is written to fast would be asked for ever.
        """
        if self._last is not None and self._last[0] == snapshot and self._last[1] >= since:
            return None
        history = self._feed.history
        if history is None:
            return None
        return self._staleness.judge(snapshot, history.journal.end, time.time())

    def hopeful(self, wanted: Wanted) -> bool:
        """Tell whether a snapshot like this can be fetched soon, as far as is known."""
        return self._may_ask and not self._set_back(wanted)

    def request(self, wanted: Wanted, reason: RefreshReason, waiter: int) -> None:
        """Ask for a snapshot; to be called again each second for as long as it is wanted.

        Args:
            wanted: Who must be able to load it.
            reason: Why no stored one is sent.
            waiter: Who waits, by connection id: several may announce the same name.
        """
        now = _now()
        request = self._requests.get(wanted)
        if request is None:
            if len(self._requests) >= _MAX_REQUESTS:
                return
            request = self._requests[wanted] = _Request(wanted, reason, now)
        request.waiters[waiter] = now
        self._signal.set()

    def status(self) -> RefreshStatus | None:
        """Show the fetch that runs, None when none does."""
        fetch = self._fetch
        if fetch is None:
            return None
        intake = fetch.intake
        shown = RefreshStatus(
            reason=self._reason, started_at=fetch.started_at, waiters=self._count_waiters()
        )
        if intake is None:
            return shown
        return replace(
            shown,
            offset=intake.offset,
            received_bytes=intake.writer.size,
            total_bytes=intake.size,
            receivers=intake.followers,
        )

    # -- the work --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve requests and the schedule until cancelled."""
        while True:
            self._forget_requests()
            if self._requests and not self._feed.has_room(self._room_bytes):
                await self._feed.make_room(self._room_bytes)  # replicas go before sinks
            request = self._next()
            if request is None:
                await self._pause()
                continue
            try:
                await self._refresh(request)
            except AbandonedError as failure:
                self._logger().info("snapshot refresh ended: %s", failure)
            except BehindError as failure:
                if not await self._resync(request, failure):
                    self._failed(request, failure)
            except ReplTapError as failure:
                self._failed(request, failure)
            # Whoever still waits asks again when the feed tells of the change.
            self._requests.pop(request.wanted, None)
            self._feed.changed()

    async def _pause(self) -> None:
        """Wait until something is wanted; look again now and then where something is due later."""
        later = bool(self._requests) or self._staleness.scheduled
        if later:
            await wait_at_most(self._signal, _POLL_SECONDS)
        else:
            await self._signal.wait()
        self._signal.clear()

    def _forget_requests(self) -> None:
        """Forget who has gone, and whom a stored snapshot serves by now."""
        now = _now()
        for request in list(self._requests.values()):
            if not request.count(now) or self._served(request):
                del self._requests[request.wanted]

    def _served(self, request: _Request) -> bool:
        snapshot = self._feed.shelf.newest(request.wanted.loads)
        return snapshot is not None and self.objection(snapshot, request.since) is None

    def _next(self) -> _Request | None:
        """Choose what to fetch now, None when there is nothing or it can't be."""
        if not self._may_ask:
            return None
        for request in self._requests.values():
            if not self._set_back(request.wanted):
                return request
        return self._scheduled()

    def _scheduled(self) -> _Request | None:
        history = self._feed.history
        if history is None or self._feed.intake is not None or self._feed.settling is not None:
            return None
        stored = history.snapshots.all
        if any(s.offset == history.journal.end for s in stored):
            return None  # nothing was written since: another would be the same
        newest = max((s.created_at for s in stored), default=None)
        if not self._staleness.due(newest, time.time()):
            return None
        wanted = Wanted(self._link.config.announced or "", relay=True)
        if self._set_back(wanted):
            return None
        return _Request(wanted, RefreshReason.SCHEDULE, _now())

    @property
    def _may_ask(self) -> bool:
        """The master streams to us, and there is room for a snapshot like the last one."""
        if self._feed.history is None or self._link.streaming_since is None:
            return False
        return self._feed.has_room(self._room_bytes)

    @property
    def _room_bytes(self) -> int:
        """What a snapshot like the last one takes."""
        stored = self._feed.history.snapshots.all if self._feed.history is not None else ()
        return max(self._feed.working_room_bytes, stored[0].size_bytes if stored else 0)

    def want_for_sink(self, sink: int) -> None:
        """Ask for a snapshot for a sink, which reads any format; as `request`.

        Args:
            sink: Tells it from others, and from replicas: negative.
        """
        wanted = Wanted(self._link.config.announced or "", relay=True)
        self.request(wanted, RefreshReason.SINK, sink)

    def _set_back(self, wanted: Wanted) -> bool:
        """It has failed lately: what the master is asked, or the use of what it gave."""
        return self._setbacks.running(wanted) or self._setbacks.running(wanted.announce)

    async def _refresh(self, request: _Request) -> None:
        history = self._feed.history
        assert history is not None
        before = {s.format: s.offset for s in reversed(history.snapshots.all)}  # the newest of each
        logger = self._logger()
        logger.info(
            "fetching another snapshot: %s; %d wait for it",
            _WHY[request.reason],
            self._count_waiters(),
        )
        self._reason = request.reason
        fetch = self._fetch = RefreshRun(
            self._feed,
            history,
            self._link,
            listening_port=self._listening_port,
            announce=request.wanted.announce,
            wanted=lambda: request.reason is RefreshReason.SCHEDULE or self._count_waiters() > 0,
        )
        try:
            snapshot = await fetch.run()
        finally:
            self._fetch = None
        assert fetch.intake is not None
        self._last = (snapshot, _now())
        self._staleness.fetched(history.journal.end - snapshot.offset)
        self.counts[request.reason.value] += 1
        logger.info(
            "snapshot refreshed: %d bytes at offset %d in %.1f s; %d replicas were sent it while "
            "it arrived",
            snapshot.size_bytes,
            snapshot.offset,
            time.time() - fetch.started_at,
            fetch.intake.followed,
        )
        newer = snapshot.offset > before.get(snapshot.format, -1)
        if newer:
            self._setbacks.clear(request.wanted.announce)
        self._check_use(request)
        if not newer:
            # A relay gives the one that it has stored. Asked again it would give it again.
            raise UpstreamError("what came is no newer than what was stored before")
        self._setbacks.clear(request.wanted)
        self.failure = None

    async def _resync(self, request: _Request, failure: BehindError) -> bool:
        """Let the main link get the snapshot of the relay above, and all that follows it.

        That costs the master nothing, as the relay sends what it has stored; and us those who are
        streamed to: they come back, and go on when the journal has come to where they are.

        Returns:
            False when it is not worth it, can't help, or has been done just now.
        """
        before = self._feed.generation, self._link.config
        if not self._worth_resync(request, failure) or await self._is_below_master():
            return False
        same = (self._feed.generation, self._link.config) == before
        if not same or not self._worth_resync(request, failure):
            return False
        why = f"{failure.message}; the server above has all that is missing"
        if not self._link.resync(why, announce=request.wanted.announce):
            return False
        self._resyncs.add("all")
        self._setbacks.add(request.wanted.announce)  # it takes the link a moment to be down
        return True

    def _worth_resync(self, request: _Request, failure: BehindError) -> bool:
        feed, wanted = self._feed, request.wanted
        history = feed.history
        if history is None or not request.count(_now()) or self._resyncs.running("all"):
            return False
        if feed.shelf.newest(wanted.loads) is not None or feed.shelf.verifying:
            return False
        # Else retention would cut it off again.
        return history.journal.end - failure.offset <= feed.pin_limit_bytes

    async def _is_below_master(self) -> bool:
        """Ask the server above for its role; where it does not say, it is taken for a relay.

        A master's snapshot may be old, too: while one is written to its disk for another replica,
        who asks is given the same (Redis `syncCommand`). Its next one is of then.
        """
        config = self._link.config
        try:
            return await is_master(config, (config.host, config.port)) is True
        except UpstreamError:
            return True  # nobody is asked for everything who can't be asked for that

    def _failed(self, request: _Request, failure: ReplTapError) -> None:
        self.failures += 1
        useless = isinstance(failure, _UselessError)
        delay = self._setbacks.add(request.wanted if useless else request.wanted.announce)
        now = time.time()
        self.failure = RefreshFailureStatus(
            at=now, reason=request.reason.value, message=str(failure), next_try_at=now + delay
        )
        self._logger().warning(
            "snapshot refresh failed: %s; again in %g s if still wanted", failure, delay
        )

    def _check_use(self, request: _Request) -> None:
        """Make sure that the effort was worth it, so that it is not repeated without end."""
        if self._feed.shelf.newest(request.wanted.loads) is not None:
            return
        history = self._feed.history
        found = ", ".join(s.format for s in history.snapshots.all) if history else ""
        raise _UselessError(
            "what came is of no use to a replica that announces version "
            f"{request.wanted.version or 'none'}: {found or 'its journal is gone already'}",
            hint="Valkey can't load Redis's newer formats, nor Redis Valkey's; if the format is "
            "right, raise store.pin_limit_bytes above what is written during a transfer",
        )

    def _count_waiters(self) -> int:
        now = _now()
        return sum(request.count(now) for request in self._requests.values())

    def _logger(self) -> PeerLogger:
        return PeerLogger("upstream", peer=self._link.peer, replid=self._feed.arriving_replid)


class _UselessError(UpstreamError):
    """A snapshot has come, and who wanted it can't be served from it."""


def _now() -> float:
    return asyncio.get_running_loop().time()
