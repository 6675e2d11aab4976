"""The sections of the configuration, as components get them; `repltap.config` builds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from repltap.access import NOBODY, Users
from repltap.tls import ClientTls, ServerTls
from repltap.values import DEFAULT_READINESS, RECEIVED, AckPolicy, Endpoint, Readiness

DEFAULT_LISTEN = Endpoint("127.0.0.1", 6380)  # loopback unless told
_GIB = 1 << 30
_MIB = 1 << 20


class FsyncPolicy(Enum):
    """When the journal is forced to the disk."""

    ALWAYS = "always"  # as soon as it has grown
    EVERYSEC = "everysec"  # at most a second later, as Redis's appendfsync
    NO = "no"  # when the kernel likes


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelConfig:
    """Who names the master.

    Attributes:
        addresses: Of the sentinels to begin with; they tell of others.
        master_name: What they call it.
        username, password: At the sentinels, as below.
        tls: What every connection to a sentinel is made with, None for no TLS.
    """

    addresses: tuple[tuple[str, int], ...]
    master_name: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ClientTls | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamConfig:
    """The master, and how to talk to it.

    Attributes:
        host, port: Where it is. A unix socket is its path, and port 0, as Redis itself writes it.
            The host is "" while no sentinel has named one.
        name: What the records of sinks and the metrics call it, "" for host and port.
        username, password: ACL user, or None for the default user; None for no AUTH.
        password_place: Where the password is given, for who has to change it.
        announce_ip, announce_port: What the master shows for us, or None: our socket, our port.
        announce_version: What we say we are, or `none`. Valkey 9 chooses the RDB version by it; a
            replica that can't load that one gets another, fetched for it.
        ack_policy: What has to be true of an offset before the master is told that we have it.
        timeout_seconds: Silence after which the link is taken for dead (`repl-timeout`).
        transfer_timeout_seconds: The same while the master prepares a snapshot.
        connect_timeout_seconds: For the TCP connection.
        backoff_min_seconds, backoff_max_seconds: Between attempts, doubling, with jitter.
        poll_seconds: How often the master's offset is asked for; 0 is never.
        tls: What every connection to it is made with, None for no TLS.
        sentinel: Who names it, None where it is configured.
    """

    host: str
    port: int
    name: str = ""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    password_place: str = field(default="", compare=False)
    announce_ip: str | None = None
    announce_port: int | None = None
    announce_version: str = "9.1.2"
    ack_policy: AckPolicy = RECEIVED
    timeout_seconds: float = 60.0
    transfer_timeout_seconds: float = 180.0
    connect_timeout_seconds: float = 5.0
    backoff_min_seconds: float = 0.1
    backoff_max_seconds: float = 5.0
    poll_seconds: float = 1.0
    tls: ClientTls | None = None
    sentinel: SentinelConfig | None = None

    @property
    def socket_path(self) -> str | None:
        """The unix socket, None for TCP."""
        return None if self.port else self.host or None

    @property
    def announced(self) -> str | None:
        """The version that is announced, None for none."""
        return None if self.announce_version == "none" else self.announce_version

    @property
    def client_tls(self) -> ClientTls | None:
        """What connections to the master, to its sentinels or to both are made with."""
        return self.tls or (self.sentinel.tls if self.sentinel is not None else None)

    @property
    def source(self) -> str:
        """What the records of sinks call it."""
        if self.name or self.sentinel is None:
            return self.name or f"{self.host}:{self.port}"
        return self.sentinel.master_name


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenConfig:
    """The port for replicas and redis-cli.

    Attributes:
        host, port: Where to listen without TLS; port 0 takes a free one.
        plain: Whether that is done at all.
        tls_address, tls: Where to listen with TLS and how, None for nowhere.
        users: Who may log in, and do what; nobody: everybody may do everything.
        protected_mode: Without users, only clients on this machine are served.
        max_clients: Connections at once, replicas included.
        timeout_seconds: ACK silence after which a replica is disconnected (`repl-timeout`).
        max_lag_seconds: How old the first byte may be that a replica has not acknowledged, once it
            has caught up; None for no limit.
        max_transfers: Snapshots sent at once; who asks meanwhile waits with keepalives.
        transfer_rate_bytes, total_rate_bytes: Bytes a second of one snapshot and of all together,
            None for as fast as it goes. The stream is never slowed.
    """

    host: str = DEFAULT_LISTEN.host
    port: int = DEFAULT_LISTEN.port
    plain: bool = True
    tls_address: Endpoint | None = None
    tls: ServerTls | None = None
    users: Users = NOBODY
    protected_mode: bool = True
    max_clients: int = 1024
    timeout_seconds: float = 60.0
    max_lag_seconds: float | None = None
    max_transfers: int = 16
    transfer_rate_bytes: int | None = None
    total_rate_bytes: int | None = None

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """All that is listened on, that without TLS first."""
        plain = (Endpoint(self.host, self.port),) if self.plain else ()
        return plain if self.tls_address is None else (*plain, self.tls_address)

    def announced(self, *, tls: bool) -> Endpoint:
        """Choose what a master is told of, as Redis's `syncWithMaster`: with TLS there, that."""
        with_tls = self.tls_address is not None and (tls or not self.plain)
        return self.endpoints[-1 if with_tls else 0]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpConfig:
    """The status page and what is beside it.

    Attributes:
        host, port: Where to listen; port 0 takes a free one.
        tokens: SHA-256 of the tokens that let in, any of which will do; none: nobody needs one.
        ready: What `/readyz` looks at.
        tls: What it is served with, None for http.
    """

    host: str
    port: int
    tokens: tuple[bytes, ...] = field(default=(), repr=False)
    ready: Readiness = DEFAULT_READINESS
    tls: ServerTls | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """What is kept on the disk.

    Attributes:
        data_dir: The directory; one repltap each.
        retain_bytes: Journal kept for replicas that come back (Redis `repl-backlog-size`).
        retain_seconds: Journal older than this is let go even if there is less of it than
            `retain_bytes`; None for no such limit.
        pin_limit_bytes: How much journal a slow replica or a snapshot may hold beyond that.
        segment_bytes: Size of a journal file; retention deletes whole files.
        quota_bytes: Hard limit on journal and snapshots, or None: as far as the disk goes.
        min_free_bytes: Room always left on the file system.
        fsync: When the journal is forced to the disk.
        check_bytes_per_second: How fast what was stored before the start is compared with its
            checksums in the background; 0 for never.
    """

    data_dir: Path
    retain_bytes: int = _GIB
    retain_seconds: float | None = None
    pin_limit_bytes: int = 4 * _GIB
    segment_bytes: int = 64 * _MIB
    quota_bytes: int | None = None
    min_free_bytes: int = 64 * _MIB
    fsync: FsyncPolicy = FsyncPolicy.EVERYSEC
    check_bytes_per_second: int = 32 * _MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotConfig:
    """Which stored snapshots are sent, and when another is fetched.

    Attributes:
        max_tail_bytes: With more journal than this after the newest one, another is fetched when a
            replica needs a full sync.
        max_age_seconds: The same for its age, None for no limit.
        refresh_seconds: Another is fetched this long after the last, needed or not; None: only
            when it is needed.
    """

    max_tail_bytes: int = _GIB
    max_age_seconds: float | None = None
    refresh_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """How much is logged, and as what."""

    level: str = "info"
    json: bool = False
