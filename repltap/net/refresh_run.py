"""One snapshot over a second connection, passed on while it arrives.

The main link goes on meanwhile: the snapshot describes an offset of the same history, so it is
usable as soon as the journal has reached it. It may cross a failover: then it holds data of another
history, and must reach no replica. So its readers get its last bytes only after the journal has
come to its offset, and while nothing has changed since it was begun: neither the history, nor its
replication id, nor the master that is followed.

Where the server knows `REPLCONF rdb-only` (every version since 6.2 does), the second connection is
no replica to it; where it doesn't, this is an ordinary full sync that is cut after the RDB.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from repltap.errors import DiskFullError, UpstreamError
from repltap.feed import Feed
from repltap.intake import Intake
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
from repltap.store.history import HistoryStore
from repltap.store.snapshots import Snapshot

_CATCH_UP_POLL_SECONDS = 0.05
_CATCH_UP_SECONDS = 30.0
"""How long the main link may take to reach the snapshot's offset. It is normally there before the
snapshot has arrived; a link that is down that long makes the snapshot useless."""


class AbandonedError(UpstreamError):
    """Whoever wanted the snapshot has gone before it began to arrive."""


class BehindError(UpstreamError):
    """The snapshot is of an offset before our journal: nobody could be sent what follows it.

    Args:
        offset: The snapshot's.
        start, end: Of the journal.
    """

    def __init__(self, offset: Offset, start: Offset, end: Offset) -> None:
        super().__init__(
            f"the snapshot is of offset {offset}, and the journal begins at {start} only",
            hint="the server above has no newer one; where it is a relay, and "
            f"store.pin_limit_bytes allows for the {end - offset} bytes since then, its journal "
            "is fetched too",
        )
        self.offset = offset


class RefreshRun:
    """One refresh; run once.

    Args:
        feed: Where the snapshot goes.
        history: The one that is served: the snapshot must be of it.
        link: The main link: its master is asked.
        listening_port: What to announce.
        announce: The version to announce, None for none.
        wanted: Tells whether anybody still wants it.

    Attributes:
        started_at: Unix seconds.
        intake: What arrives, once it has been granted.
    """

    def __init__(
        self,
        feed: Feed,
        history: HistoryStore,
        link: UpstreamLink,
        *,
        listening_port: int,
        announce: str | None,
        wanted: Callable[[], bool],
    ) -> None:
        self.started_at = time.time()
        self.intake: Intake | None = None
        self._feed = feed
        self._history = history
        self._link = link
        self._config = link.config
        self._master = link.peer
        self._generation = feed.generation
        self._listening_port = listening_port
        self._announce = announce
        self._wanted = wanted

    @property
    def same(self) -> bool:
        """Nothing has changed since it began: what comes is of the history that is served.

        After a failover the history goes on with other bytes from some offset on, and the snapshot
        of the old master may be from behind it.
        """
        return self._feed.generation == self._generation and self._link.peer == self._master

    @property
    def joined(self) -> bool:
        """The journal goes on from what arrives, as far as it has come."""
        return self.intake is not None and self.intake.offset >= self._history.journal.start

    async def run(self) -> Snapshot:
        """Fetch it and store it.

        Readers have all of it before it is durable. Cancelling is safe.

        Returns:
            The stored snapshot.

        Raises:
            AbandonedError: It had not begun to arrive, and nobody wants it any more.
            BehindError: What was granted can't be joined to our journal; nothing of it came.
            UpstreamError, RemoteProtocolError: The master gave none that can be used.
            StoreError: It could not be stored.
        """
        try:
            await self._converse()
            intake = self.intake
            if intake is None or not intake.verified:
                raise UpstreamError("the connection ended without a snapshot")
            self._feed.changed()  # its size is known now, whether it was before or not
            await self._catch_up(intake.offset)
            async with self._feed.rename_lock:
                self._check_same()
                if not self.joined:
                    # No `BehindError`: the next one may be newer, and a master's is.
                    raise UpstreamError(
                        f"the journal after its offset {intake.offset} is gone already",
                        hint="raise store.pin_limit_bytes, or store.quota_bytes, above what is "
                        "written during a transfer",
                    )
                intake.release()
            # Outside the lock, as it takes long: a failover must not wait for it.
            await asyncio.to_thread(intake.sync)
            async with self._feed.rename_lock:
                self._check_same()
                return await asyncio.to_thread(intake.publish)
        finally:
            await self._end()

    # -- the conversation's handler --------------------------------------------------------------

    def stream(self, data: memoryview | bytes) -> None:  # noqa: ARG002 - the handler's signature
        """Never called: the conversation ends with the snapshot."""
        raise UpstreamError("stream bytes on a connection for the snapshot alone")

    def snapshot(self, data: memoryview | bytes) -> None:
        """Store snapshot bytes."""
        intake = self.intake
        assert intake is not None
        known = intake.format is not None
        intake.write(data)
        if not known and intake.format is not None:
            self._feed.changed()  # whoever can load it need not wait any longer

    async def handle(self, event: UpstreamEvent) -> None:
        """Take a step of the transfer."""
        if isinstance(event, FullResyncGranted):
            self._check_same()
            history = self._history
            if event.replid != history.history.replid:
                raise UpstreamError(f"it is another history by now: {event.replid}")
            self._check_joined(event.offset)
            self.intake = Intake(
                history, history.snapshots.begin(event.offset), origin=self._link.peer
            )
            self._feed.readers.pin(self, event.offset)
        elif isinstance(event, SnapshotStarted):
            assert self.intake is not None
            self.intake.begin(event.size_bytes)
            if event.size_bytes is not None and not self._feed.has_room(event.size_bytes):
                raise self._no_room()
        elif isinstance(event, SnapshotReceived):
            assert self.intake is not None
            self.intake.verify(event.crc64)

    def tick(self) -> None:
        """Give up when the history is no longer the same, nobody wants it, or there is no room.

        A relay above may keep us waiting for as long as its own master can't give it.
        """
        self._check_same()
        if (self.intake is None or not self.intake.started) and not self._wanted():
            raise AbandonedError("nobody waits for it any more")
        if not self._feed.has_room(self._feed.working_room_bytes):
            raise self._no_room()

    def before_send(self) -> None:
        """Nothing is acknowledged here: the main link does."""

    # -- inside ----------------------------------------------------------------------------------

    async def _converse(self) -> None:
        protocol = UpstreamProtocol(
            settings_of(
                self._config,
                self._listening_port,
                announce_version=self._announce,
                rdb_only=True,
            ),
            resume=None,
            now=asyncio.get_running_loop().time(),
        )
        conversation = Conversation(protocol, self)
        await connect(conversation, self._config)
        await conversation.run()

    async def _catch_up(self, offset: Offset) -> None:
        """Wait until the journal has reached the snapshot."""
        try:
            async with asyncio.timeout(_CATCH_UP_SECONDS):
                while self._history.journal.end < offset:
                    await asyncio.sleep(_CATCH_UP_POLL_SECONDS)
                    self._check_same()
        except TimeoutError as failure:
            raise UpstreamError(
                f"the main link has not reached offset {offset} within {_CATCH_UP_SECONDS:g} s"
            ) from failure

    def _check_same(self) -> None:
        if not self.same:
            raise UpstreamError("the master or its history has changed meanwhile")

    def _check_joined(self, offset: Offset) -> None:
        """Refuse what ends before our journal begins.

        A master's own snapshot is of now. A relay gives the one that it has stored, which is good
        for who has its journal too.
        """
        journal = self._history.journal
        if offset < journal.start:
            raise BehindError(offset, journal.start, journal.end)

    def _no_room(self) -> DiskFullError:
        return DiskFullError("no room for another snapshot", path=self._feed.data_dir)

    async def _end(self) -> None:
        """Let go of everything; nothing is left of what was not published."""
        self._feed.readers.unpin(self)
        intake = self.intake
        if intake is None:
            return
        if not intake.released:
            # Those who were sent all of it go on: it was right, whatever became of the file.
            intake.fail("the snapshot that it was being sent was broken off")
        await asyncio.to_thread(intake.discard)
