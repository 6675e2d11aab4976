"""One connection to a master: `UpstreamProtocol` driven over an asyncio transport.

Stream bytes and snapshot bytes go straight from the receive buffer to the handler, without a task
in between. Every other event may need to wait for the disk: reading is paused, and `run` handles
the events in order before it reads on.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from repltap.endings import FailureReason
from repltap.errors import ReplTapError, UpstreamError
from repltap.protocol.events import (
    LinkFailed,
    SnapshotChunk,
    StreamBytes,
    UpstreamEvent,
)
from repltap.protocol.upstream import UpstreamProtocol, UpstreamState
from repltap.reasons import os_reason
from repltap.tasks import wait_at_most

RECEIVE_BYTES = 256 << 10
"""One read's worth. Larger reads mean fewer wake-ups under load; a loopback socket rarely holds
more than this between two turns of the event loop."""

DENSE_BYTES = 8 << 10
GATHER_SECONDS = 0.002
"""A stream whose reads are this large is dense: the next read waits this long, so that it brings
more for the same cost: the relay's CPU time against a chained server's fell from 0.37 to 0.18 with
one replica and from 0.46 to 0.21 with eight (`tests/bench`, throughput). A read that filled the
whole buffer does not wait, so that throughput has no ceiling; small writes never meet it."""

_TICK_SECONDS = 0.25
"""How late an ACK or a timeout may be."""


class Handler(Protocol):
    """Who a conversation is held for."""

    def stream(self, data: memoryview | bytes) -> None:
        """Take stream bytes; the view is valid during the call only."""

    def snapshot(self, data: memoryview | bytes) -> None:
        """Take snapshot bytes; the view is valid during the call only."""

    async def handle(self, event: UpstreamEvent) -> None:
        """Take any other event; nothing is read meanwhile."""

    def tick(self) -> None:
        """Time has passed, a quarter of a second or so.

        Raises:
            ReplTapError: The conversation can't go on.
        """

    def before_send(self) -> None:
        """Tell the protocol what may be acknowledged; called before each flush."""


class Conversation(asyncio.BufferedProtocol):
    """One connection, from PING to its end.

    Args:
        protocol: Fresh; it has queued its PING.
        handler: Takes the events.

    Attributes:
        explain: Says why a connection with TLS was lost; None without TLS.
        last_io_at: When a byte last arrived, on the event loop's clock, None before the first.
    """

    def __init__(self, protocol: UpstreamProtocol, handler: Handler) -> None:
        self.protocol = protocol
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray(RECEIVE_BYTES)
        self._view = memoryview(self._buffer)
        self._transport: asyncio.Transport | None = None
        self._slow: deque[UpstreamEvent] = deque()
        self._signal = asyncio.Event()
        self._failure: ReplTapError | None = None
        self._lost = False
        self._held: Callable[[], Awaitable[None]] | None = None
        self.explain: Callable[[Exception], ReplTapError] | None = None
        self.last_io_at: float | None = None

    async def run(self) -> None:
        """Hold the conversation until it ends.

        Returns when an rdb-only conversation has its snapshot. Cancelling closes the connection.

        Raises:
            UpstreamError: The master refused, fell silent or hung up.
            DiskFullError, RemoteProtocolError, StoreError: From the handler.
        """
        try:
            while self._failure is None:
                await self._pause()
                while self._slow and self._failure is None:
                    await self._take(self._slow.popleft())
                if self._failure is not None:
                    break
                if self._held is not None:
                    await self._held()
                    self._held = None
                if self._lost:
                    self.protocol.receive_eof(self._loop.time())
                else:
                    self._resume_reading()
                self.protocol.tick(self._loop.time())
                self._handler.tick()
                self._collect()
                if self._done():
                    return
            raise self._failure
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection; `run` ends."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def remote(self) -> tuple[str, int] | None:
        """The other end's address, None for a unix socket or when it is closed."""
        name = self._transport.get_extra_info("peername") if self._transport else None
        return (name[0], name[1]) if isinstance(name, tuple) and len(name) >= 2 else None

    def fail(self, failure: ReplTapError) -> None:
        """End the conversation with this error."""
        if self._failure is None:
            self._failure = failure
        self._signal.set()

    def hold(self, until: Callable[[], Awaitable[None]]) -> None:
        """Read no more until this has returned.

        Args:
            until: Is called by `run`; soon over, as nothing is sent meanwhile either.
        """
        self._held = until
        self._signal.set()
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def acknowledge(self) -> None:
        """More may be acknowledged now: tell the master, if it waits for that."""
        if self.protocol.ack_awaited:
            self._flush()

    # -- asyncio.BufferedProtocol ----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first bytes."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        sock: socket.socket | None = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._flush()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Where to receive."""
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have arrived."""
        now = self._loop.time()
        self.last_io_at = now
        if self.protocol.state is UpstreamState.STREAM and not self._slow:
            self._stream(self._view[:nbytes], now)
            return
        self.protocol.receive_data(self._view[:nbytes], now)
        self._collect()

    def eof_received(self) -> bool:
        """The master hung up."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._lost = True
        if exc is not None and self._failure is None and not self._slow:
            self._failure = self._loss(exc)
        self._signal.set()

    # -- inside ----------------------------------------------------------------------------------

    def _loss(self, failure: Exception) -> ReplTapError:
        # The first bytes show that the master has let us in: a reset is just one from then on.
        early = self.last_io_at is None
        if self.explain is not None and (early or isinstance(failure, ssl.SSLError)):
            return self.explain(failure)
        reason = os_reason(failure) if isinstance(failure, OSError) else str(failure)
        return UpstreamError(
            f"connection lost: {reason}",
            hint=_MAYBE_TLS if early else "",
            reason=FailureReason.CONNECTION_LOST,
        )

    async def _pause(self) -> None:
        """Wait for something to do, a tick at most."""
        await wait_at_most(self._signal, _TICK_SECONDS)
        self._signal.clear()

    def _collect(self) -> None:
        """Pass on what the protocol found: bytes at once, the rest to `run`."""
        try:
            for event in self.protocol.events_received():
                if self._slow or not isinstance(event, StreamBytes | SnapshotChunk):
                    self._defer(event)
                elif isinstance(event, StreamBytes):
                    self._handler.stream(event.data)
                else:
                    self._handler.snapshot(event.data)
        except ReplTapError as failure:
            self.fail(failure)
            self.close()
            return
        self._flush()

    def _stream(self, data: memoryview, now: float) -> None:
        """Pass stream bytes on before anything else is done with them: replicas wait for them."""
        try:
            self._handler.stream(data)
        except ReplTapError as failure:
            self.fail(failure)
            self.close()
            return
        if self.protocol.stream_stored(data, now):
            self._flush()
        if DENSE_BYTES <= len(data) < RECEIVE_BYTES:
            self._gather()

    def _defer(self, event: UpstreamEvent) -> None:
        if isinstance(event, StreamBytes):
            event = StreamBytes(memoryview(bytes(event.data)))
        elif isinstance(event, SnapshotChunk):
            event = SnapshotChunk(memoryview(bytes(event.data)))
        self._slow.append(event)
        self._signal.set()
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    async def _take(self, event: UpstreamEvent) -> None:
        if isinstance(event, LinkFailed):
            hint = _HINTS.get(event.reason, "")
            if event.reason is FailureReason.EOF and self.last_io_at is None:
                hint = _MAYBE_TLS
            self.fail(UpstreamError(event.message, hint=hint, reason=event.reason))
        elif isinstance(event, StreamBytes):
            self._handler.stream(event.data)
        elif isinstance(event, SnapshotChunk):
            self._handler.snapshot(event.data)
        else:
            await self._handler.handle(event)

    def _gather(self) -> None:
        """Let more of a dense stream come together before the next read."""
        transport = self._transport
        if transport is not None and transport.is_reading():
            transport.pause_reading()
            self._loop.call_later(GATHER_SECONDS, self._gathered)

    def _gathered(self) -> None:
        if not self._slow and self._held is None and self._failure is None:
            self._resume_reading()

    def _resume_reading(self) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing() and not transport.is_reading():
            transport.resume_reading()

    def _flush(self) -> None:
        self._handler.before_send()
        data = self.protocol.data_to_send()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _done(self) -> bool:
        return (
            self.protocol.state is UpstreamState.CLOSED and not self._slow and self._failure is None
        )


_MAYBE_TLS = "it said nothing: is this its tls-port? Then use rediss://"
"""What a server with TLS does with plain text (Redis 7.0: a reset)."""

_HINTS = {
    FailureReason.AUTH: "check --upstream-username, and --upstream-password-file or "
    "REPLTAP_UPSTREAM_PASSWORD; give none of them if the master asks for none",
    FailureReason.NOT_REDIS: "check the upstream host and port",
}
"""What an operator can do about a refusal, where there is something."""
