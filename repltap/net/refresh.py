"""Fetch a snapshot over a second connection, for replicas that no stored one can serve.

One refresh serves all who wait. The main link goes on meanwhile: the snapshot describes an offset
of the same history, so it is usable as soon as the journal has reached it. Where the server knows
`REPLCONF rdb-only`, the second connection is no replica to it; where it doesn't, the connection is
an ordinary full sync that is cut after the RDB.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from repltap.config import UpstreamConfig
from repltap.errors import (
    DiskFullError,
    ReplTapError,
    UpstreamError,
)
from repltap.feed import Feed
from repltap.intake import Intake
from repltap.logs import PeerLogger
from repltap.net.connect import connect, settings_of
from repltap.net.conversation import Conversation
from repltap.net.upstream import UpstreamLink
from repltap.position import Offset
from repltap.protocol.events import (
    FullResyncGranted,
    SnapshotReceived,
    SnapshotStarted,
    UpstreamEvent,
)
from repltap.protocol.upstream import UpstreamProtocol
from repltap.rdb.compatibility import can_load, version_to_announce
from repltap.store.history import HistoryStore

_RETRY_SECONDS = (1.0, 5.0, 30.0, 300.0)
"""Waits after failed refreshes in a row: each one may have cost the master a fork."""

_CATCH_UP_POLL_SECONDS = 0.05
_POLL_SECONDS = 0.5
_MAX_WANTED = 16
"""Different versions of Valkey that may wait for a snapshot at once."""

_CATCH_UP_SECONDS = 30.0
"""How long the main link may take to reach the snapshot's offset. It is normally there before the
snapshot has arrived; a link that is down that long makes the snapshot useless."""


_NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class _Setback:
    """A refresh that failed: when to try again at the earliest, unless things have changed."""

    until: float
    failures: int
    generation: int
    config: UpstreamConfig


class SnapshotRefresher:
    """At most one refresh at a time.

    Args:
        feed: Where the snapshot goes.
        link: The main link: its master is asked, and only while it streams.
        listening_port: What to announce.

    Attributes:
        refreshes: How many have been published.
    """

    def __init__(self, feed: Feed, link: UpstreamLink, *, listening_port: int) -> None:
        self._feed = feed
        self._link = link
        self._listening_port = listening_port
        # What to announce upstream -> a replica's version that it serves, and the reason.
        self._wanted: dict[str | None, tuple[str, str]] = {}
        self._setbacks: dict[str | None, _Setback] = {}
        self._signal = asyncio.Event()
        self._intake: Intake | None = None
        self._history: HistoryStore | None = None
        self._generation = 0  # the feed's, and the link's configuration, when the refresh began
        self._config: UpstreamConfig | None = None
        self.refreshes = 0

    def request(self, version: str, reason: str) -> None:
        """Ask for a snapshot that a replica of this announced version can load.

        Args:
            version: What the replica said it is, "" for nothing.
            reason: For the log.
        """
        announce = version_to_announce(version)
        if announce not in self._wanted and len(self._wanted) < _MAX_WANTED:
            self._wanted[announce] = (version, reason)
            self._signal.set()

    async def run(self) -> None:
        """Serve requests until cancelled; what fails is tried again, less and less often."""
        while True:
            await self._signal.wait()
            announce = self._next_due()
            if announce is _NOTHING or self._link.streaming_since is None or not self._has_room():
                await asyncio.sleep(_POLL_SECONDS)
                continue
            version, reason = self._wanted[announce]
            try:
                if not self._has_one(version):
                    await self._refresh(announce, reason)
                    self._check_use(version)
                self._setbacks.pop(announce, None)
            except ReplTapError as failure:
                self._set_back(announce, failure)
            # Whoever still waits asks again when the feed tells of the change.
            del self._wanted[announce]
            if not self._wanted:
                self._signal.clear()
            self._feed.changed()

    def _next_due(self) -> str | None:
        """Pick a want whose last failure is long enough ago, `_NOTHING` when there is none."""
        now = asyncio.get_running_loop().time()
        for announce in self._wanted:
            setback = self._setbacks.get(announce)
            if setback is None or now >= setback.until or self._is_over(setback):
                return announce
        return _NOTHING

    def _is_over(self, setback: _Setback) -> bool:
        """Another history or another master may well give what this one did not."""
        return setback.generation != self._feed.generation or setback.config != self._link.config

    def _set_back(self, announce: str | None, failure: ReplTapError) -> None:
        last = self._setbacks.get(announce)
        failures = 0 if last is None or self._is_over(last) else last.failures + 1
        delay = _RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)]
        self._setbacks[announce] = _Setback(
            until=asyncio.get_running_loop().time() + delay,
            failures=failures,
            generation=self._feed.generation,
            config=self._link.config,
        )
        self._logger().warning(
            "snapshot refresh failed: %s; again in %g s if still wanted", failure, delay
        )

    # -- the conversation's handler --------------------------------------------------------------

    def stream(self, data: memoryview | bytes) -> None:  # noqa: ARG002 - the handler's signature
        """Never called: the conversation ends with the snapshot."""
        raise UpstreamError("stream bytes on a connection for the snapshot alone")

    def snapshot(self, data: memoryview | bytes) -> None:
        """Store snapshot bytes."""
        assert self._intake is not None
        self._intake.write(data)

    async def handle(self, event: UpstreamEvent) -> None:
        """Take a step of the transfer."""
        if isinstance(event, FullResyncGranted):
            history = self._history
            assert history is not None
            if event.replid != history.history.replid:
                raise UpstreamError(f"it is another history by now: {event.replid}")
            self._intake = Intake(
                history, history.snapshots.begin(event.offset), origin=self._link.peer
            )
            self._feed.pin(self, event.offset)
        elif isinstance(event, SnapshotStarted):
            assert self._intake is not None
            self._intake.begin(event.size_bytes)
        elif isinstance(event, SnapshotReceived):
            assert self._intake is not None
            self._intake.verify(event.crc64)

    def tick(self) -> None:
        """Give up when the disk has no room for more, or the history is no longer the same."""
        self._check_same()
        if not self._has_room():
            raise DiskFullError("no room for another snapshot", path=self._feed.data_dir)

    def before_send(self) -> None:
        """Nothing is acknowledged here: the main link does."""

    # -- inside ----------------------------------------------------------------------------------

    def _logger(self) -> PeerLogger:
        return PeerLogger("upstream", peer=self._link.peer)

    def _has_room(self) -> bool:
        return self._feed.has_room(self._feed.working_room_bytes)

    def _has_one(self, version: str) -> bool:
        return self._feed.shelf.newest(lambda form: can_load(form, version)) is not None

    async def _refresh(self, announce: str | None, reason: str) -> None:
        self._history = self._feed.history
        if self._history is None:
            raise UpstreamError("there is no history yet")
        self._generation = self._feed.generation
        self._config = config = self._link.config
        self._logger().info("fetching another snapshot: %s", reason)
        protocol = UpstreamProtocol(
            settings_of(
                config,
                self._listening_port,
                announce_version=announce,
                rdb_only=True,
            ),
            resume=None,
            now=asyncio.get_running_loop().time(),
        )
        conversation = Conversation(protocol, self)
        try:
            await connect(conversation, config)
            await conversation.run()
            intake = self._intake
            if intake is None or not intake.verified:
                raise UpstreamError("the connection ended without a snapshot")
            await self._catch_up(self._history, intake.offset)
            async with self._feed.rename_lock:
                self._check_same()
                await asyncio.to_thread(intake.publish)
            self._intake = None
            self.refreshes += 1
            self._logger().info(
                "snapshot refreshed: %d bytes at offset %d",
                intake.writer.size,
                intake.offset,
            )
        finally:
            self._feed.unpin(self)
            if self._intake is not None:
                intake, self._intake = self._intake, None
                await asyncio.to_thread(intake.discard)

    def _check_same(self) -> None:
        """Make sure that the snapshot is still of the history that is served.

        After a failover the history goes on with other bytes from some offset on, and the snapshot
        of the old master may be from behind it: it must never be published then.
        """
        if self._feed.generation != self._generation or self._link.config is not self._config:
            raise UpstreamError("the master or its history has changed meanwhile")

    def _check_use(self, version: str) -> None:
        """Make sure that the effort was worth it, so that it is not repeated without end."""
        if self._has_one(version):
            return
        history = self._feed.history
        found = ", ".join(s.format for s in history.snapshots.all) if history else ""
        raise UpstreamError(
            f"what came is of no use to a replica that announces version {version or 'none'}: "
            f"{found or 'its journal is gone already'}",
            hint="Valkey can't load Redis's newer formats, nor Redis Valkey's; if the format is "
            "right, raise store.pin_limit_bytes above what is written during a transfer",
        )

    async def _catch_up(self, history: HistoryStore, offset: Offset) -> None:
        """Wait until the journal has reached the snapshot."""
        try:
            async with asyncio.timeout(_CATCH_UP_SECONDS):
                while history.journal.end < offset:
                    await asyncio.sleep(_CATCH_UP_POLL_SECONDS)
                    self._check_same()
        except TimeoutError as failure:
            raise UpstreamError(
                f"the main link has not reached offset {offset} within {_CATCH_UP_SECONDS:g} s"
            ) from failure
