"""How a single configuration value is read: sizes, times, addresses, URLs.

Each reader takes text (a flag, a variable) or a TOML value and returns the typed value, or raises
ValueError with a sentence that shows the value and says what was wanted. A reader of secrets, and
of anything that may hold one, never shows it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from urllib.parse import unquote, urlsplit

DEFAULT_REDIS_PORT = 6379
_MAX_SOCKET_PATH_BYTES = 107  # Linux's sun_path, less its end

# Redis's own units (`memtoull`): k, m, g are powers of ten, kb, mb, gb powers of two.
_UNITS = {
    "": 1,
    "b": 1,
    "k": 1000,
    "kb": 1 << 10,
    "m": 1000**2,
    "mb": 1 << 20,
    "g": 1000**3,
    "gb": 1 << 30,
    "t": 1000**4,
    "tb": 1 << 40,
}
_SIZE = re.compile(r"([0-9]{1,18})\s*([a-z]*)")
_SEPARATOR = re.compile(r"(?<!\\);")
_MAX_BYTES = 2**63 - 1
_READY_LAG = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?s?")
_VERSION = re.compile(r"[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{1,2}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address to listen on."""

    host: str
    port: int


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches a host that is listened on, as far as it says."""
    return host in ("localhost", "::1") or host.startswith("127.")


@dataclass(frozen=True, slots=True)
class UpstreamUrl:
    """What an upstream URL says; rediss:// is TLS; a unix socket is its path, and port 0.

    With `sentinels`, where the master is is for them to say: `host` is empty.
    """

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    sentinels: tuple[tuple[str, int], ...] = ()
    master_name: str = ""


class AckKind(Enum):
    """What has to be true of an offset before we acknowledge it to the master."""

    RECEIVED = "received"  # it is written to the journal, as a replica's is applied
    DURABLE = "durable"  # the journal has been forced to the disk up to it
    QUORUM = "quorum"  # so many replicas below have acknowledged it


_MAX_QUORUM = 1000
"""More replicas than anybody puts below one relay."""


@dataclass(frozen=True, slots=True)
class AckPolicy:
    """A kind, and how many replicas `QUORUM` wants (0 for the others)."""

    kind: AckKind
    replicas: int = 0

    def __str__(self) -> str:
        """As it is written in the configuration."""
        return f"{self.kind.value}:{self.replicas}" if self.replicas else self.kind.value


RECEIVED = AckPolicy(AckKind.RECEIVED)


_READY = ("serve", "snapshot", "link")


@dataclass(frozen=True, slots=True)
class Readiness:
    """What has to be true of a relay before `/readyz` says that it is ready.

    Attributes:
        serve: A new replica can be given a full sync: a snapshot is stored, or the link runs, over
            whose master one is fetched when it is asked for.
        snapshot: A snapshot is stored.
        link: The stream from the master runs.
        max_lag_seconds: How far it may be behind the master, None for any.
    """

    serve: bool = False
    snapshot: bool = False
    link: bool = False
    max_lag_seconds: float | None = None

    def __str__(self) -> str:
        """As it is written in the configuration."""
        lag = [] if self.max_lag_seconds is None else [f"lag:{self.max_lag_seconds:g}s"]
        return ",".join([name for name in _READY if getattr(self, name)] + lag)


DEFAULT_READINESS = Readiness(serve=True)
"""A relay whose master is away still serves replicas: it must not be taken out of service. Nor one
that has let its snapshot go: nobody would come then, for whom it would fetch another."""


def text(raw: object) -> str:
    """Read a word: not empty, one line."""
    if not isinstance(raw, str) or not raw or not raw.isprintable():
        raise ValueError(f"{raw!r} is not a word")
    return raw


def server_version(raw: object) -> str:
    """Read a version as Valkey takes it (`REPLCONF version`): three numbers, or `none`."""
    if isinstance(raw, str) and (raw == "none" or _VERSION.fullmatch(raw)):
        return raw
    raise ValueError(f"{raw!r} is neither none nor a version such as 9.1.2")


def ack_policy(raw: object) -> AckPolicy:
    """Read `received`, `durable` or `quorum:N`."""
    word = raw.lower() if isinstance(raw, str) else ""
    if word in (AckKind.RECEIVED.value, AckKind.DURABLE.value):
        return AckPolicy(AckKind(word))
    kind, _, number = word.partition(":")
    replicas = _whole(number)
    if kind != AckKind.QUORUM.value or replicas is None or not 1 <= replicas <= _MAX_QUORUM:
        raise ValueError(f"{raw!r} is none of received, durable, quorum:1 to quorum:{_MAX_QUORUM}")
    return AckPolicy(AckKind.QUORUM, replicas)


def readiness(raw: object) -> Readiness:
    """Read what is wanted of `serve`, `snapshot`, `link` and `lag:SECONDS`, with commas between."""
    given: dict[str, bool | float] = {}
    for word in raw.lower().split(",") if isinstance(raw, str) else ("",):
        name, colon, number = word.strip().partition(":")
        value: bool | float = True
        if name in _READY and not colon:
            key = name
        elif name == "lag" and _READY_LAG.fullmatch(number):
            key, value = "max_lag_seconds", float(number.removesuffix("s"))
        else:
            raise ValueError(f"{raw!r} is none of serve, snapshot, link, lag:30s, or several")
        if key in given:
            raise ValueError(f"{raw!r} says {name} twice")
        given[key] = value
    return Readiness(**given)  # type: ignore[arg-type]


def words(raw: object) -> tuple[str, ...]:
    """Read a list of words: a list, or text that `;` separates; `\\;` is none that does."""
    if isinstance(raw, str):
        raw = (raw,)
    if isinstance(raw, tuple):  # of text: a name that was given several times
        raw = [one.replace("\\;", ";") for part in raw for one in _SEPARATOR.split(part)]
    if not isinstance(raw, list) or not raw:
        raise ValueError(f"{raw!r} is not a list of words")
    for one in raw:
        if not isinstance(one, str) or not one:
            raise ValueError(f"{raw!r} is not a list of words: {one!r} is none")
    return tuple(raw)


def integers(low: int, high: int) -> Callable[[object], tuple[int, ...]]:
    """Make a reader of lists of whole numbers in [low, high], or of one alone."""
    one = integer(low, high)

    def read(raw: object) -> tuple[int, ...]:
        if isinstance(raw, list):
            return tuple(map(one, raw))
        return (one(raw),) if isinstance(raw, int) else tuple(map(one, words(raw)))

    return read


def server_name(raw: object) -> str:
    """Read a name that a server is asked for by TLS."""
    name = text(raw)
    try:
        name.encode("idna")
    except UnicodeError:
        # asyncio would leave a socket behind at each attempt.
        raise ValueError(f"{raw!r} is not a host name") from None
    return name


def secret(raw: object) -> str:
    """Read a password; the error does not show it."""
    if not isinstance(raw, str) or not raw:
        raise ValueError("must be text, and not empty")
    return raw


def path(raw: object) -> Path:
    """Read a file name; a leading ~ is the home directory."""
    if isinstance(raw, Path):
        return raw
    if not isinstance(raw, str) or not raw or "\0" in raw:
        raise ValueError(f"{raw!r} is not a path")
    try:
        return Path(raw).expanduser()
    except RuntimeError:
        raise ValueError(f"{raw!r}: there is no such home directory") from None


def integer(low: int, high: int) -> Callable[[object], int]:
    """Make a reader of whole numbers in [low, high]."""

    def read(raw: object) -> int:
        number = _whole(raw)
        if number is None or not low <= number <= high:
            raise ValueError(f"{raw!r} is not a whole number from {low} to {high}")
        return number

    return read


def seconds(low: float, high: float) -> Callable[[object], float]:
    """Make a reader of times in seconds in [low, high]."""

    def read(raw: object) -> float:
        try:
            number = math.nan if isinstance(raw, bool) else float(raw)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = math.nan
        if not low <= number <= high:
            raise ValueError(f"{raw!r} is not a number of seconds from {low:.10g} to {high:.10g}")
        return number

    return read


def size(low: int, high: int = _MAX_BYTES) -> Callable[[object], int]:
    """Make a reader of sizes in bytes in [low, high], with Redis's units."""

    def read(raw: object) -> int:
        number = _whole(raw)
        if number is None and isinstance(raw, str):
            match = _SIZE.fullmatch(raw.strip().lower())
            if match and match[2] in _UNITS:
                number = int(match[1]) * _UNITS[match[2]]
        if number is None:
            raise ValueError(f"{raw!r} is not a size such as 512kb, 64mb or 2gb")
        if number < low:
            raise ValueError(f"{raw!r} is less than {low} bytes")
        if number > high:
            raise ValueError(f"{raw!r} is more than {high} bytes")
        return number

    return read


def choice(known: Sequence[str]) -> Callable[[object], str]:
    """Make a reader of one word out of `known`, in either case."""

    def read(raw: object) -> str:
        if not isinstance(raw, str) or raw.lower() not in known:
            raise ValueError(f"{raw!r} is none of {', '.join(known)}")
        return raw.lower()

    return read


def boolean(raw: object) -> bool:
    """Read yes or no, in the usual spellings."""
    if isinstance(raw, bool):
        return raw
    word = raw.lower() if isinstance(raw, str) else ""
    if word in ("yes", "true", "on", "1"):
        return True
    if word in ("no", "false", "off", "0"):
        return False
    raise ValueError(f"{raw!r} is neither yes nor no")


def endpoint(raw: object) -> Endpoint:
    """Read HOST:PORT, [IPv6]:PORT, or a port alone, which means loopback."""
    wanted = ValueError(f"{raw!r} is not HOST:PORT, such as 127.0.0.1:6380")
    if (number := _whole(raw)) is not None:
        host = "127.0.0.1"
    elif isinstance(raw, str):
        host, colon, port = raw.rpartition(":")
        number = _whole(port)
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise ValueError(f"{raw!r}: an IPv6 address goes in brackets, such as [::1]:6380")
        if not colon or not host or not host.isprintable() or any(c in host for c in " /@"):
            raise wanted
    else:
        raise wanted
    if number is None or not 0 <= number <= 65535:
        raise wanted
    return Endpoint(host, number)


def endpoint_or_off(raw: object) -> Endpoint | None:
    """Read an endpoint, or `off`: None."""
    return None if raw == "off" else endpoint(raw)


def parse_upstream_url(raw: object) -> UpstreamUrl:
    """Read redis://[user[:password]@]host[:port], rediss:// for TLS, or unix://[...@]/path.

    valkey:// and valkeys:// mean the same as redis:// and rediss://.
    """
    if not isinstance(raw, str):
        raise ValueError("must be a URL such as redis://127.0.0.1:6379")
    shown = without_secrets(raw)
    scheme, mark, _rest = raw.partition("://")
    if not mark:
        raise ValueError(f"{shown!r} is not a URL such as redis://127.0.0.1:6379")
    if scheme in ("unix", "redis+unix", "redis-socket"):
        return _unix_url(raw, shown)
    if scheme not in ("redis", "valkey", "rediss", "valkeys"):
        raise ValueError(
            f"{shown!r}: the scheme must be redis://, rediss://, unix:// or redis-sentinel://"
        )
    try:
        parts = urlsplit(raw)
        port = DEFAULT_REDIS_PORT if parts.port is None else parts.port
    except ValueError:
        raise ValueError(f"{shown!r}: not a valid host and port") from None
    if port == 0:
        raise ValueError(f"{shown!r}: there is no port 0")
    if not parts.hostname or not parts.hostname.isprintable() or " " in parts.hostname:
        raise ValueError(f"{shown!r}: the host is missing")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(
            f"{shown!r}: nothing may follow the port: replication carries all databases; "
            "in a user name or password, write / ? # as %2F %3F %23"
        )
    return UpstreamUrl(
        host=parts.hostname,
        port=port,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=scheme in ("rediss", "valkeys"),
    )


def _unix_url(raw: str, shown: str) -> UpstreamUrl:
    try:
        parts = urlsplit(raw)
    except ValueError:
        raise ValueError(f"{shown!r}: not a valid URL") from None
    name = unquote(parts.path)
    # An @ in the path is the end of a password with a slash in it.
    odd = "@" in parts.path or not name.isprintable()
    if parts.hostname or not name.strip("/") or odd:
        raise ValueError(f"{shown!r} is not unix:///path/to/the/socket")
    if parts.query or parts.fragment:
        raise ValueError(
            f"{shown!r}: nothing may follow the path: replication carries all databases"
        )
    if len(name.encode("utf-8")) > _MAX_SOCKET_PATH_BYTES:
        raise ValueError(f"{shown!r}: a socket's path has at most {_MAX_SOCKET_PATH_BYTES} bytes")
    return UpstreamUrl(
        host=name,
        port=0,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )


def _whole(raw: object) -> int | None:
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and raw.isascii() and raw.isdigit() and len(raw) <= 18:
        return int(raw)
    return None


def without_secrets(url: str) -> str:
    """Blank everything up to the last @: a password may itself hold an @ or a slash."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        scheme, rest = "", url
    if "@" not in rest:
        return url
    return f"{scheme}{mark}***@{rest.rpartition('@')[2]}"
