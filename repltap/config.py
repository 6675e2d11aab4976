"""What repltap is told: frozen sections, built once from flags, environment and a TOML file.

A flag goes before the environment, the environment before the file, the file before the default;
what an option is called in each of them is `repltap.options`, how one value is read
`repltap.values`, where they come from `repltap.config_sources`. Components get their section, never
the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repltap.access import Users, digest
from repltap.config_sections import (
    DEFAULT_LISTEN,
    FsyncPolicy,
    HttpConfig,
    ListenConfig,
    LogConfig,
    SentinelConfig,
    SnapshotConfig,
    StoreConfig,
    UpstreamConfig,
)
from repltap.config_sources import Given, read_sources
from repltap.errors import ConfigError
from repltap.options import OPTIONS
from repltap.secret_files import check_tokens, read_password
from repltap.sentinel_config import sentinel_config
from repltap.sink_config import SinkConfig
from repltap.tls_config import http_tls, listen_tls, tls_wanted, upstream_tls
from repltap.values import (
    RECEIVED,
    AckKind,
    AckPolicy,
    Endpoint,
    UpstreamUrl,
)

__all__ = [
    "Config",
    "FsyncPolicy",
    "HttpConfig",
    "ListenConfig",
    "LogConfig",
    "SentinelConfig",
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
    return Config(
        upstream=_upstream(given),
        listen=_listen(given, environ),
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
    return HttpConfig(host=where.host, port=where.port, tokens=tokens, tls=http_tls(given), **plain)


def load_tokens(
    flags: Mapping[str, object], environ: Mapping[str, str], file: Path | None
) -> tuple[bytes, ...]:
    """Find out which tokens let in over HTTP, as SHA-256.

    Args and Raises: As for `load`; nothing else needs to be given.
    """
    return _tokens(read_sources(flags, environ, file))


def _tokens(given: Given) -> tuple[bytes, ...]:
    tokens = given.passwords("http", "token")
    check_tokens(tokens, "http: token")
    return tuple(map(digest, tokens))


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
    tls = upstream_tls(given)
    to_master, to_sentinels = tls_wanted(given)
    made = UpstreamConfig(
        host=url.host,
        port=url.port,
        username=username,
        password=password,
        password_place=given.password_place("upstream"),
        tls=tls if to_master else None,
        sentinel=sentinel_config(given, url, tls if to_sentinels else None),
        **plain,
    )
    if made.backoff_min_seconds > made.backoff_max_seconds:
        raise ConfigError(
            f"upstream: backoff_min_seconds {made.backoff_min_seconds:g} is more than "
            f"backoff_max_seconds {made.backoff_max_seconds:g}"
        )
    return made


def _listen(given: Given, environ: Mapping[str, str]) -> ListenConfig:
    values = given.values
    listen: Endpoint | None = values.get("listen", DEFAULT_LISTEN)
    tls_address: Endpoint | None = values.get("listen_tls_address")
    if listen is None and tls_address is None:
        raise ConfigError("listen: address is off, and there is no tls_address")
    shown = listen or tls_address or DEFAULT_LISTEN
    return ListenConfig(
        host=shown.host,
        port=shown.port,
        plain=listen is not None,
        tls_address=tls_address,
        tls=listen_tls(given),
        users=_users(given, environ),
        **_plain("listen", values),
    )


def _source(values: Mapping[str, Any]) -> str:
    """Name the upstream without reading its password, which a sink is not told."""
    url: UpstreamUrl | None = values.get("upstream")
    name: str = values.get("upstream_name", "")
    return name or (url.master_name or f"{url.host}:{url.port}" if url else "")


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
        and not option.name.startswith("tls")
        and not option.name.startswith("sentinel_")
        and option.key in values
    }
