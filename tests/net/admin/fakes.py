"""A relay and its clients for commands to work on, made of plain data."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from repltap.access import ALL_RIGHTS, Right
from repltap.errors import UpstreamError
from repltap.net.admin.context import ClientKind, ClientState
from repltap.net.admin.dispatch import execute
from repltap.position import Offset, ReplId
from repltap.status.counters import Counters
from repltap.status.link import LinkState, UpstreamStatus
from repltap.status.relay import RelayStatus
from repltap.status.replicas import ReplicaState, ReplicaStatus
from repltap.status.store import JournalStatus, SnapshotStatus

NOW = 1_800_000_000.25
REPLID = ReplId("416457422e4a6438949045ca729ca19c0ab99b5a")
REPLID2 = ReplId("e34e9c37940fb25bdbd69053c301fc0781789f86")


def upstream(**changes: object) -> UpstreamStatus:
    """A link that has been up for ten minutes."""
    values: dict[str, object] = {
        "host": "127.0.0.1",
        "port": 6379,
        "state": LinkState.CONNECTED,
        "last_io_at": NOW - 2,
        "up_since": NOW - 600,
        "acked_offset": Offset(4900),
        "server_version": "7.0.15",
        "connects": 3,
        "disconnects": 2,
        **changes,
    }
    return UpstreamStatus(**values)  # type: ignore[arg-type]


def journal(**changes: object) -> JournalStatus:
    """A journal of a history that has been through one failover."""
    values: dict[str, object] = {
        "replid": REPLID,
        "replid2": REPLID2,
        "second_offset": 101,
        "first_offset": Offset(50),
        "end_offset": Offset(5050),
        "durable_offset": Offset(5000),
        "retain_bytes": 1 << 20,
        "disk_bytes": 8192,
        "snapshots": (
            SnapshotStatus(
                offset=Offset(3000),
                size_bytes=123_456_789,
                format="REDIS0010",
                created_at=NOW - 7200,
                tail_bytes=2050,
            ),
        ),
        **changes,
    }
    return JournalStatus(**values)  # type: ignore[arg-type]


def replica(**changes: object) -> ReplicaStatus:
    """A replica that is online and 50 bytes behind."""
    values: dict[str, object] = {
        "connection_id": 8,
        "ip": "127.0.0.1",
        "port": 21002,
        "address": "127.0.0.1:40100",
        "state": ReplicaState.ONLINE,
        "sent_offset": Offset(5050),
        "acked_offset": Offset(5000),
        "last_ack_at": NOW - 1,
        "lag_bytes": 50,
        "lag_seconds": 0.25,
        "version": "7.0.15",
        **changes,
    }
    return ReplicaStatus(**values)  # type: ignore[arg-type]


def relay_status(**changes: object) -> RelayStatus:
    """A relay with one replica, up for a day and a bit."""
    values: dict[str, object] = {
        "version": "0.1.0",
        "run_id": "ab" * 20,
        "pid": 4242,
        "now": NOW,
        "started_at": NOW - 90_000,
        "listen_host": "127.0.0.1",
        "listen_port": 6390,
        "data_dir": "data",
        "disk_free_bytes": 5 << 30,
        "disk_full": False,
        "rss_bytes": 22 << 20,
        "peak_rss_bytes": 44 << 20,
        "cpu_user_seconds": 1.5,
        "cpu_system_seconds": 0.25,
        "clients": 3,
        "max_clients": 1024,
        "repl_timeout_seconds": 60,
        "upstream": upstream(),
        "journal": journal(),
        "replicas": (replica(),),
        "counters": Counters(connections_received=11, commands_processed=22, sync_partial_ok=5),
        **changes,
    }
    return RelayStatus(**values)  # type: ignore[arg-type]


@dataclass
class FakeClient:
    """One connection."""

    id: int = 7
    address: str = "127.0.0.1:40001"
    local_address: str = "127.0.0.1:6390"
    fd: int = 12
    kind: ClientKind = ClientKind.NORMAL
    created_at: float = NOW - 30
    last_active_at: float = NOW - 5
    input_buffered_bytes: int = 0
    output_buffered_bytes: int = 0
    state: ClientState = field(default_factory=lambda: ClientState(authenticated=True))


@dataclass
class FakeContext:
    """A relay that notes what it was told to do."""

    password: bytes = b""
    shown: RelayStatus = field(default_factory=relay_status)
    connected: list[FakeClient] = field(default_factory=list)
    config: dict[str, str] = field(
        default_factory=lambda: {
            "maxclients": "1024",
            "port": "6390",
            "repl-timeout": "60",
            "replica-priority": "0",
        }
    )
    killed: list[int] = field(default_factory=list)
    repointed: list[tuple[str, int]] = field(default_factory=list)
    kept: int = 0
    published: list[bytes] = field(default_factory=list)
    shutdowns: list[bool] = field(default_factory=list)
    repoint_fails: bool = False
    rights: frozenset[Right] = ALL_RIGHTS
    monitors: list[int] = field(default_factory=list)
    most_monitors: int = 1

    @property
    def password_required(self) -> bool:
        return bool(self.password)

    def check_password(self, username: bytes, password: bytes) -> bool:
        return username == b"default" and hmac.compare_digest(password, self.password)

    def may(self, username: str, right: Right) -> bool:
        return right in self.rights

    def status(self) -> RelayStatus:
        return self.shown

    def clients(self) -> Sequence[FakeClient]:
        return self.connected

    def kill(self, connection_id: int) -> bool:
        self.killed.append(connection_id)
        return any(client.id == connection_id for client in self.connected)

    def monitor(self, connection_id: int) -> bool:
        if len(self.monitors) >= self.most_monitors:
            return False
        self.monitors.append(connection_id)
        return True

    def stop_monitor(self, connection_id: int) -> None:
        self.monitors.remove(connection_id)

    def repoint(self, host: str, port: int) -> str:
        if self.repoint_fails:
            raise UpstreamError("cannot follow it", hint="try another")
        self.repointed.append((host, port))
        if (host, port) == (self.shown.upstream.host, self.shown.upstream.port):
            return "OK Already connected to specified master"
        return "OK"

    def keep_master(self) -> None:
        self.kept += 1

    def publish(self, channel: bytes, payload: bytes) -> int:
        self.published.append(payload)
        return 3

    def request_shutdown(self, *, now: bool) -> None:
        self.shutdowns.append(now)

    def settings(self) -> Mapping[str, str]:
        return self.config


def ask(
    line: str | list[bytes], client: FakeClient | None = None, context: FakeContext | None = None
) -> bytes:
    """Execute one command, given as words or as arguments, and give the reply's bytes."""
    client = client or FakeClient()
    context = context or FakeContext(connected=[client])
    args = line.encode().split() if isinstance(line, str) else line
    return execute(context, client, args)
