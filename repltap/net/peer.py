"""One connection on the port, and the commands that come over it.

A peer drives `DownstreamProtocol` over a `Connection`. Commands go to the admin package, one after
the other and a turn at a time; what a replica needs beyond that is `repltap.net.session`'s.
"""

from __future__ import annotations

import asyncio
import socket
import time

from repltap.access import Right
from repltap.addresses import host_port
from repltap.endings import PEER_CLOSED, DisconnectReason, Ending
from repltap.logs import PeerLogger
from repltap.net.admin.context import ClientKind, ClientState
from repltap.net.admin.dispatch import execute
from repltap.net.connection import Connection
from repltap.net.logins import Turn
from repltap.net.owner import SessionOwner
from repltap.protocol.downstream import DownstreamProtocol, InputLimits
from repltap.protocol.events import CommandReceived, DownstreamEvent, PeerFailed

_TURN_SECONDS = 0.002
"""How long one client's commands may run before the others have their turn."""

_TOO_MANY_FAILED = b"-ERR too many failed logins from this address: wait a moment and try again\r\n"


class Peer:
    """One accepted connection, as far as every client goes.

    Args:
        owner: The server.
        sock: The socket.
        buffer: The server's shared receive buffer.
        connection_id: As CLIENT LIST shows it.
        timeout_seconds: Silence after which it is taken for dead, where it should speak.

    Attributes:
        state: What its own commands have set.
        protocol, connection: Its bytes, parsed and to be sent.
    """

    def __init__(
        self,
        owner: SessionOwner,
        sock: socket.socket,
        buffer: bytearray,
        *,
        connection_id: int,
        timeout_seconds: float,
    ) -> None:
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self.id = connection_id
        self.address = _name(sock.getpeername())
        self.host = self.address.rpartition(":")[0].strip("[]")
        self.local_address = _name(sock.getsockname())
        self.created_at = time.time()
        self.log = PeerLogger("downstream", peer=self.address)
        self.state = ClientState(authenticated=not owner.password_required)
        self._active_at = self._loop.time()
        self._turn_queued = False
        self.protocol = DownstreamProtocol(
            now=self._active_at, limits=InputLimits(), timeout_seconds=timeout_seconds
        )
        self._note_user()
        self.connection = Connection(
            sock,
            buffer,
            on_data=self._received,
            on_closed=self._closed,
            on_drained=self._drained,
        )

    # -- what CLIENT LIST shows ------------------------------------------------------------------

    @property
    def kind(self) -> ClientKind:
        """What it is now."""
        return ClientKind.NORMAL

    @property
    def fd(self) -> int:
        """Its file descriptor, -1 once it is closed."""
        return -1 if self.connection.closed else self.connection.fd

    @property
    def last_active_at(self) -> float:
        """When a byte last arrived, Unix seconds."""
        return time.time() - (self._loop.time() - self._active_at)

    @property
    def input_buffered_bytes(self) -> int:
        """Received and not parsed yet."""
        return self.protocol.buffered_bytes

    @property
    def output_buffered_bytes(self) -> int:
        """Replies not yet given to the kernel."""
        return self.connection.unsent_bytes

    def drop(self, reason: DisconnectReason, detail: str) -> None:
        """Disconnect it; a replica comes back by itself and asks again."""
        self.connection.close(Ending(reason, detail))

    def users_changed(self) -> bool:
        """Apply what its user may do now.

        Returns:
            Whether it had to be disconnected for it.
        """
        if not self.state.authenticated:
            # Nobody may have to log in any more.
            self.state.authenticated = not self._owner.password_required
        self._note_user()
        known = any(self._owner.may(self.state.username, right) for right in Right)
        if self.state.authenticated and not known:
            self.drop(DisconnectReason.KILLED, f"there is no user {self.state.username} any more")
            return True
        sees_data = self.kind is ClientKind.REPLICA or self.state.monitoring
        if sees_data and self.protocol.forbidden_to is not None:
            self.drop(
                DisconnectReason.KILLED, f"user {self.state.username} may not replicate any more"
            )
            return True
        return False

    # -- inside ----------------------------------------------------------------------------------

    def _received(self, data: memoryview) -> None:
        self._active_at = self._loop.time()
        self.protocol.receive_data(data, self._active_at)
        self._handle_events()

    def _drained(self) -> None:
        self._next_turn()

    def _handle_events(self) -> None:
        """Handle what has been parsed, while the peer reads its answers, for a turn at most.

        Nothing more is read before all of it is handled: that bounds what is kept in memory.
        """
        ends_at = self._loop.time() + _TURN_SECONDS
        while not self.connection.closed:
            events = self.protocol.events_received()
            for event in events:
                self._handle(event)
            self._send_protocol()
            if self.connection.congested:
                self.connection.pause_reading()  # until it has drained
                return
            if not events:
                break
            if self._loop.time() >= ends_at:
                self.connection.pause_reading()
                self._next_turn()
                return
        if self.protocol.has_pending_input:
            self.connection.pause_reading()  # until its request is granted or refused
        else:
            self.connection.resume_reading()

    def _next_turn(self) -> None:
        if not self._turn_queued:
            self._turn_queued = True
            self._loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._turn_queued = False
        self._handle_events()

    def _handle(self, event: DownstreamEvent) -> None:
        if isinstance(event, CommandReceived):
            self._take(event.args)
        elif isinstance(event, PeerFailed):
            self._end(Ending(event.reason, event.message))

    def _end(self, ending: Ending) -> None:
        self._send_protocol()
        self.connection.close_when_sent(ending)

    def _take(self, args: list[bytes]) -> None:
        """Execute a command: now, or in its turn if it is a login after failed ones."""
        if not _logs_in(args):
            self._execute(args)
            return
        turn = self._owner.logins.turn(self.host)
        if turn is None:
            self.protocol.send(_TOO_MANY_FAILED)
            self._end(PEER_CLOSED)
        elif turn.wait_seconds > 0:
            self._loop.call_later(turn.wait_seconds, self._log_in_late, args, turn)
        else:
            self._log_in(args, turn)

    def _log_in_late(self, args: list[bytes], turn: Turn) -> None:
        if not self.connection.closed:
            self._log_in(args, turn)
            self._handle_events()

    def _log_in(self, args: list[bytes], turn: Turn) -> None:
        failed = self.state.failed_logins
        self._execute(args)
        if self.state.failed_logins > failed:
            self._owner.logins.failed(self.host, turn, "the port")
        else:
            self._owner.logins.succeeded(self.host, turn)

    def _execute(self, args: list[bytes]) -> None:
        self._owner.command_executed()
        reply = execute(self._owner, self, args)
        self._note_user()
        self.protocol.in_transaction = self.state.queue is not None
        self.protocol.send(reply)
        if self.state.close_after_reply:
            self._end(PEER_CLOSED)

    def _note_user(self) -> None:
        """Let the protocol know what its user may do."""
        name = self.state.username
        allowed = self._owner.may(name, Right.REPLICATE)
        self.protocol.authenticated = self.state.authenticated
        self.protocol.forbidden_to = None if allowed else name

    def _send_protocol(self) -> None:
        data = self.protocol.data_to_send()
        if data:
            self.connection.write(data)
        self.connection.flush()

    def _closed(self, ending: Ending) -> None:
        raise NotImplementedError


def _logs_in(args: list[bytes]) -> bool:
    name = args[0].lower()
    return name == b"auth" or (name == b"hello" and b"auth" in map(bytes.lower, args[1:]))


def _name(address: object) -> str:
    """Render a socket's address as `host:port`."""
    if isinstance(address, tuple) and len(address) >= 2:
        host, port = address[0], address[1]
        return host_port(host, port)
    return str(address) or "unix:0"
