"""The port: accepts replicas, redis-cli and monitoring, and keeps the list of who is there."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Protocol

from repltap.access import Right, Users
from repltap.config import ListenConfig
from repltap.endings import DisconnectReason, Ending
from repltap.feed import Feed
from repltap.net.acknowledge import each_once
from repltap.net.admin.context import ClientKind, ClientView
from repltap.net.admission import Admission
from repltap.net.departures import Departures
from repltap.net.listeners import Listeners
from repltap.net.login_watch import LoginWatch
from repltap.net.monitors import MAX_MONITORS, Monitors
from repltap.net.publish import publish
from repltap.net.serve import SyncService
from repltap.net.session import Session
from repltap.net.transfers import Throttle, TransferSlots
from repltap.position import Offset
from repltap.protocol.hello import Address, HelloRules
from repltap.status.relay import RelayStatus
from repltap.status.replicas import ReplicaStatus
from repltap.store.history import HistoryStore

log = logging.getLogger("repltap.downstream")

_RECEIVE_BYTES = 64 << 10
_TICK_SECONDS = 1.0
_DRAIN_SECONDS = 2.0


class Relay(Protocol):
    """What the port needs of the whole."""

    def status(self) -> RelayStatus:
        """Everything that is known now."""

    def settings(self) -> Mapping[str, str]:
        """What CONFIG GET shows."""

    def repoint(self, host: str, port: int) -> str:
        """Follow another master."""

    def keep_master(self) -> None:
        """Follow the master of now after a restart too."""

    def master_addresses(self) -> Collection[Address]:
        """Where the master is that is followed now, as configured and as connected to."""

    def request_shutdown(self, *, now: bool) -> None:
        """Begin an ordered shutdown."""


class Downstream:
    """The port and its sessions.

    Args:
        config: Address, password and limits.
        feed: The histories.
        relay: The whole, for the admin commands.
        monitors: Those that monitor; run by the caller.

    Attributes:
        users: Who may log in, and do what.
        listeners: Where it listens; bound and told to stop by the caller.
        admission, logins: Who may connect, and who fails to log in.
        commands: How many have been executed since the start.
        closed_input_bytes, closed_output_bytes, closed_replication_bytes: Traffic of connections
            that are gone: received, sent as replies, sent as snapshots and stream.
        departures: The replicas that are gone.
        slots, throttle: How many snapshots are sent at once, and how fast.
    """

    def __init__(
        self, config: ListenConfig, feed: Feed, relay: Relay, monitors: Monitors | None = None
    ) -> None:
        self.feed = feed
        self._config = config
        self._relay = relay
        self._monitors = monitors or Monitors(feed)
        self._service: SyncService | None = None
        self._sessions: dict[int, Session] = {}
        self._next_id = 1
        self._buffer = bytearray(_RECEIVE_BYTES)
        self.admission = Admission(config)
        self.listeners = Listeners(config, self.admission, lambda: len(self._sessions), self._admit)
        self.logins = LoginWatch()
        self.users = config.users
        self._reconsider_queued = False
        self._filling_queued = False
        self._on_acknowledged: Callable[[], None] | None = None
        self.commands = 0
        self.closed_input_bytes = 0
        self.closed_output_bytes = 0
        self.closed_replication_bytes = 0
        self.departures = Departures()
        self._hellos = HelloRules()
        self.slots: TransferSlots[Session] = TransferSlots(config.max_transfers, self._fill_soon)
        self.throttle = Throttle(
            config.transfer_rate_bytes, config.total_rate_bytes, time.monotonic, _call_later
        )

    async def run(
        self, service: SyncService, on_acknowledged: Callable[[], None] | None = None
    ) -> None:
        """Accept and serve until cancelled.

        Args:
            service: Decides about sync requests.
            on_acknowledged: Called when a replica has sent an ACK, or one is gone.
        """
        self._service = service
        self.admission.warn(closed=self.users.required)
        self._on_acknowledged = on_acknowledged
        self.feed.listen(self._reconsider_soon)
        self.listeners.start()
        try:
            while True:
                await asyncio.sleep(_TICK_SECONDS)
                self.listeners.tick()
                for session in list(self._sessions.values()):
                    self._guarded(session, session.tick)
                self._reconsider()
        finally:
            self.listeners.stop()

    async def drain(self) -> None:
        """Give the replicas a moment to take what is stored."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _DRAIN_SECONDS
        while loop.time() < deadline and any(s.behind for s in self._sessions.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    def close_all(self, detail: str) -> None:
        """Close every connection: repltap ends."""
        for session in list(self._sessions.values()):
            session.drop(DisconnectReason.SHUTDOWN, detail)

    def replicas(self, now: float, end: Offset) -> list[ReplicaStatus]:
        """Show who syncs from us, by connection id."""
        places = self.slots.places()
        shown = (
            session.replica_status(now, end, places.get(session.id))
            for session in self._sessions.values()
        )
        return [replica for replica in shown if replica is not None]

    def acknowledged(self, history: HistoryStore) -> list[Offset]:
        """List what each replica that streams this history has acknowledged."""
        said = (session.acknowledged_in(history) for session in self._sessions.values())
        return each_once(found for found in said if found is not None)

    def traffic(self) -> tuple[int, int, int]:
        """Count bytes: received, sent as replies, sent as snapshots and stream."""
        received, sent, replicated = (
            self.closed_input_bytes,
            self.closed_output_bytes,
            self.closed_replication_bytes,
        )
        for session in self._sessions.values():
            received += session.connection.bytes_in
            sent += session.connection.bytes_out
            replicated += session.sent_stream_bytes
        return received, sent, replicated

    # -- AdminContext and SessionOwner -----------------------------------------------------------

    @property
    def password_required(self) -> bool:
        """Who connects has to log in."""
        return self.users.required

    def check_password(self, username: bytes, password: bytes) -> bool:
        """Compare in constant time; False where there is no such user."""
        return self.users.check(username, password)

    def may(self, username: str, right: Right) -> bool:
        """Tell whether a user has a right now."""
        return self.users.may(username, right)

    def take_users(self, users: Users) -> int:
        """Let these log in from now on.

        Who is logged in stays, with the rights that its user has now, as in Redis; whose user is
        gone, or who replicates and may not any more, is disconnected.

        Returns:
            How many were disconnected.
        """
        self.users = users
        sessions = list(self._sessions.values())
        return sum(session.users_changed() for session in sessions)

    def status(self) -> RelayStatus:
        """Everything that is known now."""
        return self._relay.status()

    def settings(self) -> Mapping[str, str]:
        """What CONFIG GET shows."""
        return self._relay.settings()

    def repoint(self, host: str, port: int) -> str:
        """Follow another master."""
        return self._relay.repoint(host, port)

    def keep_master(self) -> None:
        """Follow the master of now after a restart too."""
        self._relay.keep_master()

    def publish(self, channel: bytes, payload: bytes) -> int:
        """Tell the subscribers that may hear it; returns how many."""
        return publish(
            channel, payload, self._sessions.values(), self._hellos, self._relay.master_addresses()
        )

    def request_shutdown(self, *, now: bool) -> None:
        """Begin an ordered shutdown."""
        self._relay.request_shutdown(now=now)

    def clients(self) -> Sequence[ClientView]:
        """All open connections, by id."""
        return list(self._sessions.values())

    def kill(self, connection_id: int) -> bool:
        """Close a connection; False when there is none with this id."""
        session = self._sessions.get(connection_id)
        if session is None:
            return False
        # After the reply to the command that asked for it, which may be its own.
        asyncio.get_running_loop().call_soon(
            session.drop, DisconnectReason.KILLED, "killed by CLIENT KILL"
        )
        return True

    def monitor(self, connection_id: int) -> bool:
        """Show a connection the master's writes from now on; False where too many are shown."""
        if self._monitors.count >= MAX_MONITORS:
            return False
        self._monitors.begin(self._sessions[connection_id])
        return True

    def stop_monitor(self, connection_id: int) -> None:
        """Show it nothing more."""
        self._monitors.end(self._sessions[connection_id])

    def sync_requested(self, session: Session) -> None:
        """Decide about its PSYNC or SYNC."""
        self._monitors.end(session)  # a line would end up in its stream
        if self._reconsider_queued:
            return  # then, with the others: who has waited for the change comes first
        assert self._service is not None
        self._service.consider(session)

    def session_closed(self, session: Session, ending: Ending) -> None:
        """Forget it."""
        self.slots.leave(session)
        self._monitors.end(session)
        if self._sessions.pop(session.id, None) is not None:
            if session.kind is ClientKind.REPLICA:
                self.departures.note(session.name, ending, session.protocol.replica.acked)
                if self._service is not None:
                    self._service.departed(session, ending)
            self.closed_input_bytes += session.connection.bytes_in
            self.closed_output_bytes += session.connection.bytes_out
            self.closed_replication_bytes += session.sent_stream_bytes
            self.replica_acknowledged()

    def replica_acknowledged(self) -> None:
        """Tell who wants to know that what is acknowledged has changed."""
        if self._on_acknowledged is not None:
            self._on_acknowledged()

    def command_executed(self) -> None:
        """Count one."""
        self.commands += 1

    # -- inside ----------------------------------------------------------------------------------

    def _admit(self, sock: socket.socket) -> None:
        present, closed = len(self._sessions), self.users.required
        if not self.admission.admits(sock, present, closed=closed, now=time.monotonic()):
            sock.close()
            return
        try:
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            session = Session(
                self,
                sock,
                self._buffer,
                connection_id=self._next_id,
                timeout_seconds=self._config.timeout_seconds,
                max_lag_seconds=self._config.max_lag_seconds,
            )
        except OSError:
            sock.close()  # gone before we looked at it
            return
        self._sessions[self._next_id] = session
        self._next_id += 1

    def _reconsider_soon(self) -> None:
        """Something has changed; look at the waiting requests once, soon."""
        if not self._reconsider_queued:
            self._reconsider_queued = True
            asyncio.get_running_loop().call_soon(self._reconsider)

    def _reconsider(self) -> None:
        self._reconsider_queued = False
        if self._service is None:
            return
        # In the order of asking: what has become free goes to who has waited longest.
        waiting = ((s.wait.since, s.id, s) for s in self._sessions.values() if s.wait is not None)
        for _, _, session in sorted(waiting):
            self._guarded(session, partial(self._service.consider, session))

    def _fill_soon(self) -> None:
        if not self._filling_queued:
            self._filling_queued = True
            asyncio.get_running_loop().call_soon(self._fill_slots)

    def _fill_slots(self) -> None:
        """Give free slots to who has waited longest; look at nobody else."""
        self._filling_queued = False
        last: Session | None = None
        while (session := self.slots.next()) is not None and session is not last:
            assert self._service is not None
            self._guarded(session, partial(self._service.consider, session))
            last = session

    @staticmethod
    def _guarded(session: Session, step: Callable[[], None]) -> None:
        """Take a step for one session; a fault in it must not end the others."""
        try:
            step()
        except Exception:
            session.log.exception("internal error; this connection is closed")
            session.drop(DisconnectReason.INTERNAL_ERROR, "internal error")


def _call_later(delay: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
    return asyncio.get_running_loop().call_later(delay, callback)
