"""What repltap is told: frozen sections, built once from flags, environment and a TOML file.

A flag goes before the environment, the environment before the file, the file before the default;
what an option is called in each of them is `repltap.options`, how one value is read
`repltap.values`, where they come from `repltap.config_sources`. Components get their section, never
the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from repltap.access import NOBODY, Users, digest
from repltap.config_sources import Given, read_sources
from repltap.errors import ConfigError
from repltap.options import OPTIONS
from repltap.secret_files import read_password
from repltap.sink_config import SinkConfig
from repltap.values import (
    DEFAULT_READINESS,
    RECEIVED,
    AckKind,
    AckPolicy,
    Endpoint,
    Readiness,
    UpstreamUrl,
)

__all__ = [
    "Config",
    "FsyncPolicy",
    "HttpConfig",
    "ListenConfig",
    "LogConfig",
    "SinkConfig",
    "SnapshotConfig",
    "StoreConfig",
    "TapConfig",
    "UpstreamConfig",
    "load",
    "load_data_dir",
    "load_tap",
    "load_tokens",
    "load_upstream",
    "load_users",
    "read_password",
]

DEFAULT_LISTEN = Endpoint("127.0.0.1", 6380)  # loopback unless told
_GIB = 1 << 30
_MIB = 1 << 20


class FsyncPolicy(Enum):
    """When the journal is forced to the disk."""

    ALWAYS = "always"  # as soon as it has grown
    EVERYSEC = "everysec"  # at most a second later, as Redis's appendfsync
    NO = "no"  # when the kernel likes


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamConfig:
    """The master, and how to talk to it.

    Attributes:
        host, port: Where it is. A unix socket is its path, and port 0, as Redis itself writes it.
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

    @property
    def socket_path(self) -> str | None:
        """The unix socket, None for TCP."""
        return None if self.port else self.host

    @property
    def source(self) -> str:
        """What the records of sinks call it."""
        return self.name or f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenConfig:
    """The port for replicas and redis-cli.

    Attributes:
        host, port: Where to listen; port 0 takes a free one.
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
    users: Users = NOBODY
    protected_mode: bool = True
    max_clients: int = 1024
    timeout_seconds: float = 60.0
    max_lag_seconds: float | None = None
    max_transfers: int = 16
    transfer_rate_bytes: int | None = None
    total_rate_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpConfig:
    """The status page and what is beside it.

    Attributes:
        host, port: Where to listen; port 0 takes a free one.
        tokens: SHA-256 of the tokens that let in, any of which will do; none: nobody needs one.
        ready: What `/readyz` looks at.
    """

    host: str
    port: int
    tokens: tuple[bytes, ...] = field(default=(), repr=False)
    ready: Readiness = DEFAULT_READINESS


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


@dataclass(frozen=True, slots=True, kw_only=True)
class TapConfig:
    """What is needed to deliver what is stored: all that a sink's worker is told.

    Attributes:
        data_dir: Where the store is.
        source: What records call the upstream, "" where that is not configured.
        sinks: By name.
        log: How much is logged, and as what.
    """

    data_dir: Path
    source: str
    sinks: tuple[SinkConfig, ...]
    log: LogConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything; `http` is None when the status page is off."""

    upstream: UpstreamConfig
    listen: ListenConfig
    http: HttpConfig | None
    store: StoreConfig
    snapshot: SnapshotConfig
    log: LogConfig
    sinks: tuple[SinkConfig, ...] = ()


def load(flags: Mapping[str, object], environ: Mapping[str, str], file: Path | None) -> Config:
    """Build the configuration.

    Args:
        flags: From the command line, by `Option.key`; None or absent means "not given". `sink`
            is what `--sink` said, each time.
        environ: The environment. Variables that are no option are ignored: Kubernetes sets
            REPLTAP_PORT and the like wherever a service is called repltap.
        file: A TOML file, or None.

    Returns:
        The configuration, checked.

    Raises:
        ConfigError: A value is missing or wrong, or a file can't be read. The error names the
            flag, the variable, or the file with section and field; never a password.
    """
    return _build(read_sources(flags, environ, file), environ)


def load_data_dir(
    flags: Mapping[str, object], environ: Mapping[str, str], file: Path | None
) -> Path:
    """Find out where the store is, for commands that only look at it.

    Args and Raises: As for `load`; nothing else needs to be given.
    """
    found: Path = _required(read_sources(flags, environ, file).values, "data_dir", "./data")
    return found


def load_upstream(
    flags: Mapping[str, object], environ: Mapping[str, str], file: Path | None
) -> UpstreamConfig:
    """Find out how to talk to the master, for commands that need nothing else.

    Args and Raises: As for `load`; nothing else needs to be given.
    """
    return _upstream(read_sources(flags, environ, file))


def load_tap(
    flags: Mapping[str, object], environ: Mapping[str, str], file: Path | None
) -> TapConfig:
    """Find out what is stored where, and which sinks there are, for commands about sinks.

    Args and Raises: As for `load`; nothing but the data directory needs to be given.
    """
    given = read_sources(flags, environ, file)
    values = given.values
    return TapConfig(
        data_dir=_required(values, "data_dir", "./data"),
        source=_source(values),
        sinks=given.sinks,
        log=LogConfig(**_plain("log", values)),
    )


def load_users(flags: Mapping[str, object], environ: Mapping[str, str], file: Path | None) -> Users:
    """Find out who may log in on the port.

    Args and Raises: As for `load`; nothing else needs to be given.
    """
    return _users(read_sources(flags, environ, file), environ)


def _users(given: Given, environ: Mapping[str, str]) -> Users:
    named = [user.log_in_with(environ) for user in given.users]
    return Users.of(given.passwords("listen"), named)


def _build(given: Given, environ: Mapping[str, str]) -> Config:
    values = given.values
    listen: Endpoint = values.get("listen") or DEFAULT_LISTEN
    return Config(
        upstream=_upstream(given),
        listen=ListenConfig(
            host=listen.host,
            port=listen.port,
            users=_users(given, environ),
            **_plain("listen", values),
        ),
        http=_http(given),
        store=_store(values),
        snapshot=SnapshotConfig(**_plain("snapshot", values)),
        log=LogConfig(**_plain("log", values)),
        sinks=given.sinks,
    )


def _http(given: Given) -> HttpConfig | None:
    where: Endpoint | None = given.values.get("http")
    if where is None:
        return None
    tokens = _tokens(given)
    plain = _plain("http", given.values)
    return HttpConfig(host=where.host, port=where.port, tokens=tokens, **plain)


def load_tokens(
    flags: Mapping[str, object], environ: Mapping[str, str], file: Path | None
) -> tuple[bytes, ...]:
    """Find out which tokens let in over HTTP, as SHA-256.

    Args and Raises: As for `load`; nothing else needs to be given.
    """
    return _tokens(read_sources(flags, environ, file))


def _tokens(given: Given) -> tuple[bytes, ...]:
    return tuple(map(digest, given.passwords("http", "token")))


def _upstream(given: Given) -> UpstreamConfig:
    values = given.values
    url: UpstreamUrl = _required(values, "upstream", "redis://127.0.0.1:6379")
    plain = _plain("upstream", values)
    username = plain.pop("username", url.username)
    password = given.password("upstream")
    if username is not None and password is None:
        raise ConfigError(
            f"upstream: no password for user {username!r}",
            hint="set REPLTAP_UPSTREAM_PASSWORD or --upstream-password-file",
        )
    made = UpstreamConfig(
        host=url.host,
        port=url.port,
        username=username,
        password=password,
        password_place=given.password_place("upstream"),
        **plain,
    )
    if made.backoff_min_seconds > made.backoff_max_seconds:
        raise ConfigError(
            f"upstream: backoff_min_seconds {made.backoff_min_seconds:g} is more than "
            f"backoff_max_seconds {made.backoff_max_seconds:g}"
        )
    return made


def _source(values: Mapping[str, Any]) -> str:
    """Name the upstream without reading its password, which a sink is not told."""
    url: UpstreamUrl | None = values.get("upstream")
    name: str = values.get("upstream_name", "")
    return name or (f"{url.host}:{url.port}" if url else "")


def _store(values: Mapping[str, Any]) -> StoreConfig:
    plain = _plain("store", values)
    if "fsync" in plain:
        plain["fsync"] = FsyncPolicy(plain["fsync"])
    made = StoreConfig(data_dir=_required(values, "data_dir", "./data"), **plain)
    policy: AckPolicy = values.get("upstream_ack_policy", RECEIVED)
    if policy.kind is AckKind.DURABLE and made.fsync is FsyncPolicy.NO:
        raise ConfigError(
            "upstream: ack_policy durable: with fsync no, nothing is ever known to be durable",
            hint="set fsync to always or everysec",
        )
    # The default segment gives way to a small quota, one that was asked for doesn't (`app`).
    asked = "segment_bytes" in plain
    if asked and made.quota_bytes is not None and made.quota_bytes < made.segment_bytes:
        raise ConfigError(
            f"store: quota_bytes {made.quota_bytes} is less than one segment "
            f"({made.segment_bytes} bytes)",
            hint="raise quota_bytes or lower segment_bytes",
        )
    return made


def _required(values: Mapping[str, Any], key: str, example: str) -> Any:  # Any: per option
    if key not in values:
        option = next(option for option in OPTIONS if option.key == key)
        raise ConfigError(
            f"{option.flag} is missing",
            hint=f"for example {option.flag} {example}, or {option.variable}, "
            f"or {option.name} under [{option.section}]",
        )
    return values[key]


def _plain(section: str, values: Mapping[str, Any]) -> dict[str, Any]:  # Any: dataclass fields
    """The values that go into the section as they are."""
    return {
        option.name: values[option.key]
        for option in OPTIONS
        if option.section == section
        and not option.short
        and option.name not in ("password", "password_file", "token", "token_file")
        and option.key in values
    }
