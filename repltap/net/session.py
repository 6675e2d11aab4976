"""A peer that may be a replica, and everything that a replica goes through.

A PSYNC or SYNC goes to `repltap.net.serve`, which decides and calls back `continue_at` or
`send_snapshot`. A session is a `Reader` of the feed from the moment it is granted something; what
it is sent then is its `Outflow`'s.
"""

from __future__ import annotations

import logging
import os
import socket

from repltap.addresses import host_port
from repltap.endings import DisconnectReason, Ending
from repltap.errors import StoreError
from repltap.intake import Intake
from repltap.lag import Lag
from repltap.net.acknowledge import Acknowledgement
from repltap.net.admin.context import ClientKind
from repltap.net.departures import ending_of
from repltap.net.outflow import Outflow
from repltap.net.owner import SessionOwner, SyncWait
from repltap.net.peer import Peer
from repltap.position import Offset, Position
from repltap.protocol.downstream import Role
from repltap.protocol.events import (
    AckReceived,
    DownstreamEvent,
    FailoverRefused,
    SyncRequested,
)
from repltap.status.replicas import ReplicaState, ReplicaStatus
from repltap.store.history import HistoryStore
from repltap.store.snapshots import Snapshot

_SPURNED_SECONDS = 10.0
"""Who leaves a transfer so soon has not liked what it saw; later it may be the network."""

_MARK_BYTES = 20  # forty hexadecimal characters


class Session(Peer):
    """One accepted connection, whatever it turns out to be.

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
        asked: Where it asked to go on before it was sent a snapshot, None for nowhere.
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
        super().__init__(
            owner, sock, buffer, connection_id=connection_id, timeout_seconds=timeout_seconds
        )
        self.wait: SyncWait | None = None
        self._lag = Lag(max_lag_seconds)
        self._connected_at = self._active_at
        self._asked_to_sync = False
        self.asked: Position | None = None
        self._granted_full_at: float | None = None  # a snapshot with data in it
        self._snapshot_whole = False
        self.outflow = Outflow(
            owner.feed,
            self,
            self.connection,
            owner.throttle,
            on_snapshot_sent=self._snapshot_sent,
        )

    # -- what CLIENT LIST and INFO show ----------------------------------------------------------

    @property
    def kind(self) -> ClientKind:
        """Replica from its accepted PSYNC on."""
        other = ClientKind.PUBSUB if self.state.subscribed else ClientKind.NORMAL
        return ClientKind.REPLICA if self._asked_to_sync else other

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
        if outflow.history is not None:
            end = outflow.history.journal.end  # of what it is streamed, if that is served no longer
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

    def tell(self, data: bytes) -> None:
        """Send it a message, unless it has become a replica."""
        if self.protocol.role is Role.CLIENT:
            self.protocol.push(data)
            self._send_protocol()

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
        self.asked, self.wait = None if self.wait is None else self.wait.position, None
        self._granted_full_at = self._loop.time()
        self.protocol.grant_full(history.history.replid, snapshot.offset)
        size = self.outflow.snapshot_size
        mark = None if size is not None else os.urandom(_MARK_BYTES).hex().encode()
        self.protocol.begin_transfer(size, mark)
        self._send_protocol()

    def send_made_snapshot(self, history: HistoryStore, offset: Offset, rdb: bytes) -> None:
        """Grant a full sync to a client that has filtered all data, or all keys, out of it."""
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
        if replica.ip_address:
            return host_port(replica.ip_address, replica.listening_port)
        return f"{self.address.rpartition(':')[0]}:{replica.listening_port}"

    def _handle(self, event: DownstreamEvent) -> None:
        if isinstance(event, AckReceived):
            self._acknowledged()
        elif isinstance(event, SyncRequested):
            self._asked_to_sync = True
            self.state.last_command = "sync" if event.legacy else "psync"
            self.log.peer = self.name
            self.wait = SyncWait(event.request, event.legacy, self._loop.time())
            self._owner.sync_requested(self)
        elif isinstance(event, FailoverRefused):
            self.log.warning("asked this relay to take over as master; refused")
        else:
            super()._handle(event)

    def _acknowledged(self) -> None:
        """Tell the owner; the first ACK after an `$EOF:` transfer opens the stream."""
        self._owner.replica_acknowledged()
        if self.outflow.history is not None and self.protocol.stream_open:
            self._stream()

    def _end(self, ending: Ending) -> None:
        self.wait = None
        super()._end(ending)

    def _closed(self, ending: Ending) -> None:
        self.outflow.close()
        self._log_end(ending.detail)
        self.wait = None
        self._owner.session_closed(self, ending)

    def _log_end(self, detail: str) -> None:
        if self.kind is ClientKind.REPLICA:
            self.log.info("replica disconnected: %s", detail or "closed by the replica")
        elif detail:
            # Who has not logged in could fill the disk: a line for each connection.
            level = logging.INFO if self.state.authenticated else logging.DEBUG
            self.log.log(level, "client disconnected: %s", detail)
