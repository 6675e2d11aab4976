"""The link to the master: connect, resume, take in, and do it again whenever it breaks.

After a connection error the first try is always a partial resync. A link that had worked is tried
again at once, then with exponential backoff and jitter. The link alone decides when to read: it
stops while the disk has no room, and never because of a replica or a sink.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from repltap.addresses import host_port
from repltap.config import UpstreamConfig
from repltap.endings import FailureReason
from repltap.errors import (
    DiskFullError,
    OpenFilesError,
    RemoteProtocolError,
    ReplTapError,
    UpstreamError,
)
from repltap.feed import Feed
from repltap.intake import Intake
from repltap.logs import PeerLogger
from repltap.net.acknowledge import AckLimit, Acknowledged
from repltap.net.attempts import Attempts
from repltap.net.connect import connect, settings_of
from repltap.net.conversation import Conversation
from repltap.net.linkcounts import LinkCounters
from repltap.net.linkfacts import progress, server_version, size_text
from repltap.net.resumption import OnPurposeError, RepointedError, Resumption, ResyncError
from repltap.net.room import Room, shortage
from repltap.position import Offset, Position
from repltap.protocol.events import (
    FullResyncGranted,
    ResumeGranted,
    SnapshotReceived,
    SnapshotStarted,
    UpstreamEvent,
)
from repltap.protocol.upstream import UpstreamProtocol
from repltap.status.link import LinkState, UpstreamStatus
from repltap.store.history import HistoryStore
from repltap.values import AckKind

_BY_HAND = "REPLICAOF asked for it; until the next start, or CONFIG REWRITE"
_REMIND_SECONDS = 60.0
"""The same failure is logged once, then this often."""

_PROVEN_SECONDS = 2.0
"""A stream that ran this long has worked: its link is tried again at once when it breaks. A master
that grants and hangs up is met with growing waits."""


def _nothing() -> None:
    """Nobody wants to know."""


def _nobody(history: HistoryStore) -> Iterable[Offset]:  # noqa: ARG001 - as `Acknowledged`
    """There are no replicas."""
    return ()


class UpstreamLink:
    """The link to whichever master is configured now.

    Args:
        feed: Where the stream and the snapshots go.
        config: The master and the timeouts.
        listening_port: What to announce, unless the configuration says otherwise.
        acknowledged: What the replicas below have acknowledged, for the ACK policy `quorum`.

    Attributes:
        config: As given, with the host and port of the last `repoint`.
        state: Where the link stands.
        on_down: Called when the link has broken, or an attempt has failed.
        on_refused: Called when the master does not take the password, or asks for one.
        streaming_since: When the stream began, event loop's clock; None while it doesn't run.
        flowing_since: When the first byte of it came; None before that.
    """

    def __init__(
        self,
        feed: Feed,
        config: UpstreamConfig,
        *,
        listening_port: int,
        acknowledged: Acknowledged = _nobody,
    ) -> None:
        self._feed = feed
        self.config = config
        self._acks = AckLimit(config.ack_policy, feed, acknowledged)
        self._listening_port = config.announce_port or listening_port
        self.state = LinkState.CONNECT
        self.streaming_since: float | None = None
        self.flowing_since: float | None = None
        self.on_down: Callable[[], None] = _nothing
        self.on_refused: Callable[[], None] = _nothing
        self.counters = LinkCounters()
        self._log = PeerLogger("upstream", peer=self.peer, replid=feed.arriving_replid)
        self._conversation: Conversation | None = None
        self._intake: Intake | None = None
        self._connecting: asyncio.Timeout | None = None
        self._attempts = Attempts()
        self._resumption = Resumption(feed)
        self._room = Room(feed, self._log)
        self._last_error = ""
        self._logged_at = float("-inf")
        self._up_at: float | None = None
        self._down_at: float | None = None
        self._last_io_at: float | None = None

    @property
    def peer(self) -> str:
        """The master, `host:port`."""
        return host_port(self.config.host, self.config.port) if self.config.host else ""

    @property
    def shown_address(self) -> str:
        """The master as MONITOR shows a client (Redis `replicationFeedMonitors`)."""
        path = self.config.socket_path
        return self.peer if path is None else f"unix:{path}"

    @property
    def disk_full(self) -> bool:
        """Reading has stopped for want of room."""
        return self.state is LinkState.PAUSED and not self._room.lacks_files

    async def run(self) -> None:
        """Keep the link up until cancelled.

        Raises:
            StoreError: Something is wrong with what is stored; trying again can't help.
        """
        self._feed.syncing.listen(self._acknowledge)
        self._feed.listen(self._acknowledge)
        try:
            while True:
                while not self.config.host:
                    await self._attempts.called()  # for Sentinel to name one
                await self._room.wait(
                    on_pause=self._pause,
                    again=lambda: self._attempts.wanted_now,
                    pause=self._attempts.wait,
                )
                proven = await self._attempt()
                await self._back_off(proven)
        finally:
            self.state = LinkState.STOPPED

    def repoint(self, host: str, port: int, why: str = _BY_HAND) -> bool:
        """Follow another master, with a partial resync if it shares our history.

        Args:
            host: Name or address.
            port: 1 to 65535.
            why: For the log.

        Returns:
            False when this is the master that is followed already.
        """
        if (host, port) == (self.config.host, self.config.port):
            return False
        self.config = replace(self.config, host=host, port=port)
        before, self._log.peer = self._log.peer, self.peer
        self._last_io_at = None
        self._log.info("followed%s: %s", f" instead of {before}" if before else "", why)
        self._attempts.forget()
        self._room.forget()
        self._resumption.forget()
        self._attempts.hurry()
        if self._conversation is not None:
            self._conversation.fail(RepointedError())
        elif self._connecting is not None:
            self._connecting.reschedule(asyncio.get_running_loop().time())
        return True

    def take_credentials(self, username: str | None, password: str | None) -> bool:
        """Use these at the next connection; the present one stays. False if nothing changed."""
        if (username, password) == (self.config.username, self.config.password):
            return False
        self.config = replace(self.config, username=username, password=password)
        self._attempts.hurry()  # who was refused with the old ones need not wait
        return True

    def try_again(self) -> None:
        """Don't wait any longer with the next attempt."""
        self._attempts.hurry()

    def resync(self, why: str, *, announce: str | None) -> bool:
        """Ask for a full resync, once; what is served meanwhile is what was before.

        For a server above that gives what it has stored: a master would have to make a snapshot.

        Args:
            why: For the log.
            announce: The version to announce for it, None for none.

        Returns:
            False when the link does not stream: it has other worries.
        """
        if self._conversation is None or self.streaming_since is None:
            return False
        self._log.info("is asked for a full resync: %s", why)
        self._resumption.ask_all(announce)
        self._conversation.fail(ResyncError())
        return True

    def addresses(self) -> set[tuple[str, int]]:
        """Tell where the master is: as configured, and as connected to; hosts in lower case."""
        found = {(self.config.host.lower(), self.config.port)}
        if self._conversation is not None and (remote := self._conversation.remote) is not None:
            found.add(remote)
        return found

    def status(self) -> UpstreamStatus:
        """Show the link as it is now."""
        conversation = self._conversation
        if conversation is not None and conversation.last_io_at is not None:
            loop = asyncio.get_running_loop()
            self._last_io_at = time.time() - (loop.time() - conversation.last_io_at)
        up = self.state is LinkState.CONNECTED
        return UpstreamStatus(
            host=self.config.host,
            port=self.config.port,
            source=self.config.source if self.config.sentinel else self.config.name,
            state=self.state,
            last_error="" if up else self._last_error,
            last_io_at=self._last_io_at,
            up_since=self._up_at if up else None,
            down_since=None if up else self._down_at,
            sync=None if self._intake is None else progress(self._intake),
            acked_offset=conversation.protocol.acked if up and conversation else None,
            ack_policy=str(self.config.ack_policy),
            server_version=server_version(self._feed.history),
            connects=self.counters.connects,
            disconnects=self.counters.disconnects,
            attempts=0 if up else self._attempts.count,
            next_try_at=self._attempts.next_try_at,
        )

    # -- the conversation's handler --------------------------------------------------------------

    def stream(self, data: memoryview | bytes) -> None:
        """Store stream bytes."""
        self.counters.received_bytes += len(data)
        if self.flowing_since is None:
            self.flowing_since = asyncio.get_running_loop().time()
        self._feed.append(data)
        if self._feed.pressed and self._conversation is not None:
            self._conversation.hold(self._feed.upkeep.catch_up)

    def snapshot(self, data: memoryview | bytes) -> None:
        """Store snapshot bytes."""
        assert self._intake is not None
        self.counters.received_bytes += len(data)
        self.counters.snapshot_bytes += len(data)
        self._intake.write(data)

    async def handle(self, event: UpstreamEvent) -> None:
        """Take a step of the handshake or of the transfer."""
        if isinstance(event, FullResyncGranted):
            self.counters.full_resyncs += 1
            self.counters.partial_denied += self._resumption.partial
            self._resumption.granted()
            self._log.info("gives a full resync: %s at offset %d", event.replid, event.offset)
            self._intake = await self._feed.begin_intake(
                event.replid, event.offset, origin=self.peer
            )
            self.state = LinkState.SYNC
        elif isinstance(event, SnapshotStarted):
            assert self._intake is not None
            self._log.info("sends its snapshot: %s", size_text(event.size_bytes))
            self._intake.begin(event.size_bytes)
            if event.size_bytes is not None and not (
                self._feed.has_room(event.size_bytes)
                or await self._feed.make_room(event.size_bytes)
            ):
                raise DiskFullError(
                    f"no room for a snapshot of {event.size_bytes} bytes", path=self._feed.data_dir
                )
            self._feed.changed()
        elif isinstance(event, SnapshotReceived):
            assert self._intake is not None
            intake, self._intake = self._intake, None
            self._log.info(
                "snapshot complete: %d bytes in %.1f s, checksum %s",
                event.size_bytes,
                time.time() - intake.started_at,
                "right" if event.checksum_present else "not present",
            )
            self._feed.complete_intake(intake, event.crc64)
            self._came_up()
        elif isinstance(event, ResumeGranted):
            self.counters.partial_resyncs += 1
            self._log.info("continues from offset %d", event.offset)
            await self._feed.resumed(event.replid, event.offset)
            self._came_up()

    def tick(self) -> None:
        """Stop reading before the disk is full to the last byte: others live on it too."""
        self._resumption.check(asyncio.get_running_loop().time())
        wanted = self._feed.working_room_bytes
        if not self._feed.has_room(wanted):
            raise DiskFullError(shortage(self._feed, wanted), path=self._feed.data_dir)

    def before_send(self) -> None:
        """Say what may be acknowledged, by the ACK policy."""
        conversation, history = self._conversation, self._feed.history
        if conversation is None or history is None or self.streaming_since is None:
            return
        protocol = conversation.protocol
        protocol.set_acknowledged(*self._acks.now(history))
        if protocol.ack_awaited and self._acks.policy.kind is AckKind.DURABLE:
            self._feed.syncing.request()

    def replica_acknowledged(self) -> None:
        """A replica below has acknowledged more, or is gone."""
        if self._acks.policy.kind is AckKind.QUORUM:
            self._acks.recount()
            self._acknowledge()

    # -- inside ----------------------------------------------------------------------------------

    def _acknowledge(self) -> None:
        if self._conversation is not None and self.streaming_since is not None:
            self._conversation.acknowledge()

    async def _attempt(self) -> bool:
        """Connect and hold one conversation.

        Returns:
            Whether the stream ran long enough to say that the link works.
        """
        self._attempts.begin()
        self.state = LinkState.CONNECTING
        peer = self.peer
        try:
            await self._connect(await self._resumption.begin(asyncio.get_running_loop().time()))
            assert self._conversation is not None
            await self._conversation.run()
        except (DiskFullError, OpenFilesError) as failure:
            self._room.ran_out(failure, None if self._resumption.optional else self._intake)
            self._went_down(failure)
        except (UpstreamError, RemoteProtocolError) as failure:
            # What the other master did last says nothing of the one that is followed now.
            told = failure if peer == self.peer else RepointedError()
            if isinstance(told, RemoteProtocolError):
                self._resumption.distrust()
            self._went_down(told)
        finally:
            since, self.streaming_since, self.flowing_since = self.streaming_since, None, None
            self._conversation = None
            if self._intake is not None:
                self._intake = None
                self._feed.abandon_intake("the master broke off the snapshot")
        self._feed.flush_index()
        now = asyncio.get_running_loop().time()
        return since is not None and now - since >= _PROVEN_SECONDS

    async def _connect(self, resume: Position | None) -> None:
        loop = asyncio.get_running_loop()
        config, peer = self.config, self.peer
        protocol = UpstreamProtocol(
            settings_of(
                config,
                self._listening_port,
                announce_version=self._resumption.announce(config),
            ),
            resume=resume,
            now=loop.time(),
        )
        conversation = Conversation(protocol, self)
        try:
            # A master that has failed may take all of the time for a connection.
            async with asyncio.timeout(None) as self._connecting:
                await connect(conversation, config)
        except TimeoutError:  # by `repoint`; that of `connect` is an UpstreamError
            conversation.close()
            raise RepointedError from None
        finally:
            self._connecting = None
        if peer != self.peer:
            conversation.close()
            raise RepointedError
        self.state = LinkState.HANDSHAKE
        self._conversation = conversation

    async def _back_off(self, proven: bool) -> None:
        """Wait before the next attempt; a re-point ends the wait."""
        if proven:
            self._attempts.forget()
            self._room.proven()
            self._logged_at = float("-inf")
            return
        self.state = LinkState.CONNECT
        await self._attempts.back_off(self.config)

    def _pause(self) -> None:
        self.state = LinkState.PAUSED

    def _came_up(self) -> None:
        self.state = LinkState.CONNECTED
        self.streaming_since = asyncio.get_running_loop().time()
        self._up_at = time.time()
        self._down_at = None
        self.counters.connects += 1
        self._feed.changed()

    def _went_down(self, failure: ReplTapError) -> None:
        self.counters.ended(failure)
        now = asyncio.get_running_loop().time()
        if self.streaming_since is not None:
            self.counters.disconnects += 1
            self._down_at = time.time()
        if isinstance(failure, OnPurposeError):
            self._last_error = ""
            return
        self.on_down()
        if isinstance(failure, UpstreamError) and failure.reason is FailureReason.AUTH:
            self.on_refused()
        message = str(failure)
        if message != self._last_error or now - self._logged_at >= _REMIND_SECONDS:
            self._log.warning("%s", message)
            self._logged_at = now
        self._last_error = message
