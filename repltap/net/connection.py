"""One accepted socket: bounded output, files sent by the kernel, reading that can be held.

A `Connection` knows nothing of the protocol. It reads when the socket is readable and hands the
bytes up; it sends what it is given, then whatever its source (a file that may still be growing)
has to send. Sockets are driven directly and not through asyncio transports, because `sendfile`
must run between two reads of the same socket without pausing it. What TLS changes is the
`Channel`'s.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from repltap.endings import PEER_CLOSED, DisconnectReason, Ending
from repltap.errors import StoreError
from repltap.net.channel import Channel, channel_of
from repltap.net.departures import ending_of
from repltap.reasons import os_reason

log = logging.getLogger("repltap.downstream")

LINGER_SECONDS = 5.0
"""How long a connection that is to be closed may take to read what it has been answered."""

OUTPUT_HIGH_BYTES = 256 << 10
"""With more than this unsent, nothing more is read from the peer: a client that asks and never
reads costs this much and one reply more."""


class Progress(Enum):
    """What became of an attempt to send from a source."""

    IDLE = "idle"  # nothing more to send now; the source arranges to be woken
    BLOCKED = "blocked"  # the socket takes no more now
    MORE = "more"  # enough for one turn; there is more


class Source(Protocol):
    """Something that sends itself to a peer."""

    def pump(self, channel: Channel) -> Progress:
        """Send a turn's worth.

        Raises:
            OSError: The socket failed.
        """


class Connection:
    """A non-blocking socket on the event loop.

    Args:
        sock: The accepted socket, after the handshake if it has TLS; owned from now on.
        buffer: Where to receive; shared by all connections of a server, as each read is consumed
            before the next.
        on_data: Called with what was received; the view is valid during the call only.
        on_closed: Called once, with the reason.
        on_drained: Called when output that had held reading back is sent.
    """

    def __init__(
        self,
        sock: socket.socket,
        buffer: bytearray,
        *,
        on_data: Callable[[memoryview], None],
        on_closed: Callable[[Ending], None],
        on_drained: Callable[[], None],
    ) -> None:
        self._channel = channel_of(sock)
        self._fd = sock.fileno()
        self._buffer = memoryview(buffer)
        self._on_data = on_data
        self._on_closed = on_closed
        self._on_drained = on_drained
        self._loop = asyncio.get_running_loop()
        self._out = bytearray()
        self._source: Source | None = None
        self._writing = False
        self._reading = False
        self._turn_queued = False
        self._read_held = False  # until TLS can say something of its own
        self._closing: Ending | None = None
        self.closed = False
        self.blocked_since: float | None = None
        """Since when the socket has taken nothing, event loop's clock; None while it takes."""
        self.reset = False
        """The peer has closed it without reading all that it was sent."""
        self.bytes_in = 0
        self.bytes_out = 0
        self.resume_reading()

    @property
    def fd(self) -> int:
        """The socket's file descriptor, as CLIENT LIST shows it."""
        return self._fd

    @property
    def unsent_bytes(self) -> int:
        """Output that waits for the peer."""
        return len(self._out) + self._channel.unsent_bytes

    @property
    def congested(self) -> bool:
        """Tell whether so much output waits that nothing more should be read."""
        return len(self._out) > OUTPUT_HIGH_BYTES

    def write(self, data: bytes) -> None:
        """Queue bytes ahead of the source; `flush` sends them."""
        self._out += data

    def set_source(self, source: Source | None) -> None:
        """Send from `source` once the queued bytes are out."""
        self._source = source

    def flush(self) -> None:
        """Send what can be sent now; the rest goes when the socket takes it."""
        if self.closed or self._writing:
            return
        try:
            self._send()
            if self._channel.unsent_bytes:
                self._want_writing()
        except BlockingIOError:
            self._want_writing()
        except OSError as failure:
            self._lost(failure, "connection lost while sending")
        except StoreError as failure:
            log.error("%s", failure)
            self.close(ending_of(failure))

    def close_when_sent(self, ending: Ending) -> None:
        """Close once the queued bytes are out, soon in any case; nothing more is read or sent."""
        if self.closed or self._closing is not None:
            return
        self._closing = ending
        self._source = None
        self.pause_reading()
        if self.unsent_bytes:
            self._loop.call_later(LINGER_SECONDS, self.close, ending)
            self.flush()
        else:
            self.close(ending)

    def close(self, ending: Ending) -> None:
        """Close now, whatever is unsent."""
        if self.closed:
            return
        self.closed = True
        self.pause_reading()
        if self._writing:
            self._loop.remove_writer(self._fd)
        self._source = None
        self._out.clear()
        self._channel.close()
        self._on_closed(ending)

    def pause_reading(self) -> None:
        """Read nothing until told otherwise: the peer's bytes wait in the kernel."""
        if self._reading:
            self._loop.remove_reader(self._fd)
            self._reading = False

    def resume_reading(self) -> None:
        """Read again."""
        if not self._reading and not self.closed and self._closing is None:
            self._loop.add_reader(self._fd, self._readable)
            self._reading = True
            self._read_rest()

    def _readable(self) -> None:
        try:
            size = self._channel.receive_into(self._buffer)
        except (BlockingIOError, InterruptedError):
            if self._channel.needs_room:
                # The bytes that wait would make the socket readable again and again.
                self.pause_reading()
                self._read_held = True
                self._want_writing()
            return
        except OSError as failure:
            self._lost(failure, "connection lost")
            return
        if size == 0:
            self.close(PEER_CLOSED)
            return
        self.bytes_in += size
        try:
            self._on_data(self._buffer[:size])
        except BaseException:
            # A bug: the peer must not hang on it. The event loop reports it.
            self.close(
                Ending(
                    DisconnectReason.INTERNAL_ERROR,
                    "closed after an internal error, which the log shows",
                )
            )
            raise
        if self._reading:
            self._read_rest()

    def _read_rest(self) -> None:
        """Come back for what has been received and decrypted: no event of the socket tells it."""
        if self._channel.has_input:
            self._loop.call_soon(self._readable_rest)

    def _readable_rest(self) -> None:
        if self._reading and self._channel.has_input:
            self._readable()

    def _lost(self, failure: OSError, what: str) -> None:
        self.reset = isinstance(failure, (ConnectionResetError, BrokenPipeError))
        self.close(Ending(DisconnectReason.CONNECTION_LOST, f"{what}: {os_reason(failure)}"))

    def _send(self) -> None:
        self._channel.flush()
        while self._out:
            was_congested = self.congested
            sent = self._channel.send(self._out)
            self.bytes_out += sent
            del self._out[:sent]
            if was_congested and not self.congested:
                self._on_drained()
            if self.closed:
                return
        if self._closing is not None:
            self._channel.flush()
            self.close(self._closing)
        elif self._source is not None:
            self._send_source(self._source)

    def _send_source(self, source: Source) -> None:
        progress = source.pump(self._channel)
        if progress is Progress.BLOCKED:
            self._want_writing()
        elif progress is Progress.MORE and not self._turn_queued:
            # Give the other connections their turn first.
            self._turn_queued = True
            self._loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._turn_queued = False
        self.flush()

    def _want_writing(self) -> None:
        if not self._writing and not self.closed:
            self._writing = True
            self.blocked_since = self._loop.time()
            self._loop.add_writer(self._fd, self._writable)

    def _writable(self) -> None:
        self._writing = False
        self.blocked_since = None
        self._loop.remove_writer(self._fd)
        if self._read_held:
            self._read_held = False
            self.resume_reading()
        self.flush()
