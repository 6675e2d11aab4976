"""One peer on the port: a client, or a replica and everything it goes through.

The session drives `DownstreamProtocol` over a `Connection`. Commands go to the admin package; a
PSYNC or SYNC goes to `repltap.net.serve`, which decides and calls back `continue_at` or
`send_snapshot`. A session is a `Reader` of the feed from the moment it is granted something; what
it is sent then is its `Outflow`'s.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time

from repltap.endings import PEER_CLOSED, DisconnectReason, Ending
from repltap.errors import StoreError
from repltap.intake import Intake
from repltap.lag import Lag
from repltap.logs import PeerLogger
from repltap.net.acknowledge import Acknowledgement
from repltap.net.admin.context import ClientKind, ClientState
from repltap.net.admin.dispatch import execute
from repltap.net.connection import Connection
from repltap.net.departures import ending_of
from repltap.net.outflow import Outflow
from repltap.net.owner import SessionOwner, SyncWait
from repltap.position import Offset
from repltap.protocol.downstream import DownstreamProtocol, InputLimits, Role
from repltap.protocol.events import (
    AckReceived,
    CommandReceived,
    DownstreamEvent,
    FailoverRefused,
    PeerFailed,
    SyncRequested,
)
from repltap.status.replicas import ReplicaState, ReplicaStatus
from repltap.store.history import HistoryStore
from repltap.store.snapshots import Snapshot

_TURN_SECONDS = 0.002
"""How long one client's commands may run before the others have their turn."""

_SPURNED_SECONDS = 10.0
"""Who leaves a transfer so soon has not liked what it saw; later it may be the network."""

_MARK_BYTES = 20  # forty hexadecimal characters


class Session:
    """One accepted connection.

    Args:
        owner: The server.
        sock: The socket.
        buffer: The server's shared receive buffer.
        connection_id: As CLIENT LIST shows it.
        timeout_seconds: Silence after which a replica is taken for dead.
        max_lag_seconds: How old the first byte may be that it has not acknowledged, once it has
            caught up; None for no limit.

    Attributes:
        wait: The sync request that waits to be granted, None otherwise.
        outflow: What it is sent, once granted.
    """

    def __init__(
        self,
        owner: SessionOwner,
        sock: socket.socket,
        buffer: bytearray,
        *,
        connection_id: int,
        timeout_seconds: float,
        max_lag_seconds: float | None = None,
    ) -> None:
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self.id = connection_id
        self.address = _name(sock.getpeername())
        self.local_address = _name(sock.getsockname())
        self.created_at = time.time()
        self.log = PeerLogger("downstream", peer=self.address)
        self.state = ClientState(authenticated=not owner.password_required)
        self.wait: SyncWait | None = None
        self._lag = Lag(max_lag_seconds)
        self._connected_at = self._active_at = self._loop.time()
        self._asked_to_sync = False
        self._turn_queued = False
        self._granted_full_at: float | None = None  # a snapshot with data in it
        self._snapshot_whole = False
        self.protocol = DownstreamProtocol(
            now=self._active_at, limits=InputLimits(), timeout_seconds=timeout_seconds
        )
        self.protocol.authenticated = self.state.authenticated
        self.connection = Connection(
            sock,
            buffer,
            on_data=self._received,
            on_closed=self._closed,
            on_drained=self._drained,
        )
        self.outflow = Outflow(
            owner.feed,
            self,
            self.connection,
            owner.throttle,
            on_snapshot_sent=self._snapshot_sent,
        )

    # -- what CLIENT LIST and INFO show ----------------------------------------------------------

    @property
    def fd(self) -> int:
        """Its file descriptor, -1 once it is closed."""
        return -1 if self.connection.closed else self.connection.fd

    @property
    def kind(self) -> ClientKind:
        """Replica from its accepted PSYNC on."""
        return ClientKind.REPLICA if self._asked_to_sync else ClientKind.NORMAL

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

    @property
    def sent_stream_bytes(self) -> int:
        """Snapshot and stream bytes it has been sent."""
        return self.outflow.sent_bytes

    @property
    def behind(self) -> bool:
        """It is streamed to, and has not been sent all there is."""
        return self.outflow.behind

    @property
    def spurned(self) -> bool:
        """It was sent a snapshot, and left without a word: it may not be able to load it."""
        if self._granted_full_at is None or self.protocol.replica.acked is not None:
            return False
        soon = self._loop.time() - self._granted_full_at < _SPURNED_SECONDS
        return (soon or self._snapshot_whole) and not self.protocol.replica.rdb_only

    def acknowledged_in(self, history: HistoryStore) -> Acknowledgement | None:
        """Give what it has acknowledged of this history, if it holds all of its data."""
        replica, sent = self.protocol.replica, self.outflow.sent_offset
        whole = self.outflow.history is history and replica.filter is None and not replica.rdb_only
        streaming = self.protocol.role is Role.STREAM and not self.connection.closed
        if not whole or not streaming or replica.acked is None or sent is None:
            return None
        # Whatever it says: it can't hold what it has not been sent.
        offset = min(replica.acked, sent)
        return Acknowledgement(self.name, self._connected_at, replica.last_ack_at or 0.0, offset)

    def replica_status(
        self, now: float, end: Offset, queue_position: int | None = None
    ) -> ReplicaStatus | None:
        """Show it as a replica, or None for a client.

        Args:
            now: Unix seconds.
            end: The journal's end.
            queue_position: Its place in the queue for a transfer, None when it is in none.
        """
        replica = self.protocol.replica
        outflow = self.outflow
        if self.protocol.role in (Role.CLIENT, Role.CLOSED):
            return None
        host = self.address.rpartition(":")[0]
        streaming = self.protocol.role is Role.STREAM
        state = ReplicaState.ONLINE if streaming else ReplicaState.WAITING
        if outflow.snapshot_sent is not None:
            state = ReplicaState.TRANSFER
        return ReplicaStatus(
            connection_id=self.id,
            ip=replica.ip_address or host,
            port=replica.listening_port,
            address=self.address,
            state=state,
            sent_offset=outflow.sent_offset,
            acked_offset=replica.acked,
            last_ack_at=now - (self._loop.time() - (replica.last_ack_at or self._active_at)),
            lag_bytes=None if replica.acked is None else max(0, end - replica.acked),
            lag_seconds=self._lag_seconds(),
            version=replica.version or "",
            queue_position=queue_position,
            snapshot_sent_bytes=outflow.snapshot_sent,
            snapshot_total_bytes=None if outflow.snapshot_sent is None else outflow.snapshot_size,
        )

    def _lag_seconds(self) -> float | None:
        history, acked = self.outflow.history, self.protocol.replica.acked
        if history is None or acked is None:
            return None
        return self._lag.measure(history.journal, acked, self._loop.time())

    # -- the feed's reader -----------------------------------------------------------------------

    @property
    def pin(self) -> Offset:
        """The first offset it has not been sent."""
        return self.outflow.pin

    def wake(self) -> None:
        """Bytes it waits for have arrived."""
        self.connection.flush()

    def drop(self, reason: DisconnectReason, detail: str) -> None:
        """Disconnect it; a replica comes back by itself and asks again."""
        self.connection.close(Ending(reason, detail))

    # -- what the server calls -------------------------------------------------------------------

    def tick(self) -> None:
        """Keepalives and timeouts; about once a second."""
        now = self._loop.time()
        blocked = self.connection.blocked_since
        # A streaming replica that loads its snapshot reads nothing for long, and sends newlines
        # instead: the protocol watches it. Nobody else has a reason not to read.
        if (
            blocked is not None
            and self.protocol.role is not Role.STREAM
            and now - blocked >= self.protocol.timeout_seconds
        ):
            self.drop(
                DisconnectReason.TRANSFER_STALLED,
                f"took nothing of what it was sent for {now - blocked:.0f} s",
            )
            return
        self.protocol.tick(now)
        if self.protocol.role is Role.STREAM and (history := self.outflow.history) is not None:
            late = self._lag.exceeded(history.journal, self.protocol.replica.acked, now)
            if late is not None:
                self.drop(
                    DisconnectReason.LAG_SECONDS,
                    f"{late:.0f} s behind, more than the limit: it may come back by partial "
                    "resync while the journal holds its offset",
                )
                return
        if not self.connection.congested:
            self._handle_events()

    def hold(self, reason: str) -> None:
        """Keep the replica waiting, with a newline each second; `reason` is for the log."""
        if self.wait is not None and not self.wait.held:
            self.wait.held = True
            self.log.info("waits: %s", reason)
            self.protocol.hold()
            self._send_protocol()

    def refuse(self, line: bytes) -> None:
        """Answer its request with an error line."""
        self.wait = None
        self._asked_to_sync = False
        self.protocol.refuse(line)
        self._send_protocol()

    def continue_at(self, history: HistoryStore, offset: Offset) -> None:
        """Grant a partial resync from `offset` on.

        Raises:
            StoreError: The journal can't be read there; nothing was granted.
        """
        self.outflow.prepare_stream(history, offset)
        self.wait = None
        self.protocol.grant_continue(history.history.replid)
        self._send_protocol()

    def send_snapshot(self, history: HistoryStore, snapshot: Snapshot | Intake) -> None:
        """Grant a full sync from a stored or an arriving snapshot.

        An arriving one must have begun; where its size is not known the replica must have
        announced `capa eof`.

        Raises:
            StoreError: The snapshot can't be read; nothing was granted.
        """
        self.outflow.prepare_snapshot(history, snapshot)
        self.wait = None
        self._granted_full_at = self._loop.time()
        self.protocol.grant_full(history.history.replid, snapshot.offset)
        size = self.outflow.snapshot_size
        mark = None if size is not None else os.urandom(_MARK_BYTES).hex().encode()
        self.protocol.begin_transfer(size, mark)
        self._send_protocol()

    def send_empty_snapshot(self, history: HistoryStore, offset: Offset, rdb: bytes) -> None:
        """Grant a full sync to a client that has filtered all data out of it."""
        self.outflow.prepare_later(history, offset)
        self.wait = None
        self.protocol.grant_full(history.history.replid, offset)
        self.protocol.begin_transfer(len(rdb), None)
        self._send_protocol()
        self.connection.write(rdb)
        self._snapshot_sent()

    # -- inside ----------------------------------------------------------------------------------

    def _snapshot_sent(self) -> None:
        """The whole RDB is with the kernel: go over to the stream, or close (rdb-only)."""
        self._owner.slots.leave(self)
        self._snapshot_whole = True
        self.protocol.transfer_complete(self._loop.time())
        if self.protocol.replica.rdb_only:
            self._send_protocol()
            self.connection.close_when_sent(
                Ending(
                    DisconnectReason.SNAPSHOT_ONLY, "it asked for the snapshot alone, and has it"
                )
            )
            return
        self.log.info("snapshot sent, streaming from offset %d", self.pin)
        if self.protocol.stream_open:
            self._stream()
        self._send_protocol()

    def _stream(self) -> None:
        try:
            self.outflow.begin_stream()
        except StoreError as failure:
            self.connection.close(ending_of(failure))

    @property
    def name(self) -> str:
        """The replica for people: what it announced, else its socket."""
        replica = self.protocol.replica
        if not replica.listening_port:
            return self.address
        return f"{replica.ip_address or self.address.rpartition(':')[0]}:{replica.listening_port}"

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
            self._execute(event.args)
        elif isinstance(event, AckReceived):
            self._acknowledged()
        elif isinstance(event, SyncRequested):
            self._asked_to_sync = True
            self.state.last_command = "sync" if event.legacy else "psync"
            self.log.peer = self.name
            self.wait = SyncWait(event.request, event.legacy, self._loop.time())
            self._owner.sync_requested(self)
        elif isinstance(event, FailoverRefused):
            self.log.warning("asked this relay to take over as master; refused")
        elif isinstance(event, PeerFailed):
            self._end(Ending(event.reason, event.message))

    def _end(self, ending: Ending) -> None:
        self.wait = None
        self._send_protocol()
        self.connection.close_when_sent(ending)

    def _execute(self, args: list[bytes]) -> None:
        self._owner.command_executed()
        reply = execute(self._owner, self, args)
        self.protocol.authenticated = self.state.authenticated
        self.protocol.send(reply)
        if self.state.close_after_reply:
            self._end(PEER_CLOSED)

    def _acknowledged(self) -> None:
        """Tell the owner; the first ACK after an `$EOF:` transfer opens the stream."""
        self._owner.replica_acknowledged()
        if self.outflow.history is not None and self.protocol.stream_open:
            self._stream()

    def _send_protocol(self) -> None:
        data = self.protocol.data_to_send()
        if data:
            self.connection.write(data)
        self.connection.flush()

    def _closed(self, ending: Ending) -> None:
        self.outflow.close()
        self._log_end(ending.detail)
        self.wait = None
        self._owner.session_closed(self, ending)

    def _log_end(self, detail: str) -> None:
        if self.kind is ClientKind.REPLICA:
            self.log.info("replica disconnected: %s", detail or "closed by the replica")
        elif detail:
            self.log.info("client disconnected: %s", detail)


def _name(address: object) -> str:
    """Render a socket's address as `host:port`."""
    if isinstance(address, tuple) and len(address) >= 2:
        host, port = address[0], address[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return str(address) or "unix:0"
