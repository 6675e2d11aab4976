"""Ask a master for its RDB and nothing else, as `redis-cli --rdb` does.

One conversation, not repeated: whoever asks decides what to do about a failure. Where the server
knows `REPLCONF rdb-only` this is no replica to it; elsewhere it is a full sync that is cut after
the RDB.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from repltap.config import UpstreamConfig
from repltap.endings import FailureReason
from repltap.errors import UpstreamError
from repltap.net.connect import connect, settings_of
from repltap.net.conversation import Conversation
from repltap.position import Offset, ReplId
from repltap.protocol.events import (
    FullResyncGranted,
    SnapshotReceived,
    SnapshotStarted,
    UpstreamEvent,
)
from repltap.protocol.upstream import UpstreamProtocol


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came.

    Attributes:
        replid, offset: It holds everything below `offset` of this history.
        size_bytes: Its size.
        has_checksum: Its checksum was right; False if the master writes none.
    """

    replid: ReplId
    offset: Offset
    size_bytes: int
    has_checksum: bool


class SnapshotFetch:
    """One fetch. Handles the conversation.

    Args:
        config: The master, and how to talk to it.
        write: Takes the RDB, in order; the view is valid during the call only.
        started: Told the size when the transfer begins, None if the master does not say it.
    """

    def __init__(
        self,
        config: UpstreamConfig,
        write: Callable[[memoryview | bytes], None],
        started: Callable[[int | None], None],
    ) -> None:
        self._config = config
        self._write = write
        self._started = started
        self._granted: FullResyncGranted | None = None
        self._received: SnapshotReceived | None = None

    async def run(self) -> Fetched:
        """Fetch it; cancelling closes the connection.

        Raises:
            UpstreamError: The master can't be reached, refused, fell silent or hung up.
            RemoteProtocolError: What came is damaged, or no RDB.
            StoreError: From `write`.
        """
        config = self._config
        protocol = UpstreamProtocol(
            settings_of(config, 0, announce_version=config.announced, rdb_only=True),
            resume=None,
            now=asyncio.get_running_loop().time(),
        )
        conversation = Conversation(protocol, self)
        await connect(conversation, config)
        await conversation.run()
        granted, received = self._granted, self._received
        if granted is None or received is None:
            raise UpstreamError("the connection ended without a snapshot", reason=FailureReason.EOF)
        return Fetched(
            granted.replid, granted.offset, received.size_bytes, received.checksum_present
        )

    # -- the conversation's handler --------------------------------------------------------------

    def stream(self, data: memoryview | bytes) -> None:
        """Never called: the conversation ends with the snapshot."""

    def snapshot(self, data: memoryview | bytes) -> None:
        """Pass snapshot bytes on."""
        self._write(data)

    async def handle(self, event: UpstreamEvent) -> None:
        """Take a step of the transfer."""
        if isinstance(event, FullResyncGranted):
            self._granted = event
        elif isinstance(event, SnapshotStarted):
            self._started(event.size_bytes)
        elif isinstance(event, SnapshotReceived):
            self._received = event

    def tick(self) -> None:
        """Nothing is limited here but what the protocol limits."""

    def before_send(self) -> None:
        """Nothing is acknowledged here."""
