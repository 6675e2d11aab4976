"""How the target of the redis sink is written: redis://[user@]host[:port], rediss:// with TLS."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

_DEFAULT_PORT = 6379


@dataclass(frozen=True, slots=True)
class Address:
    """A server, and as whom to log in; `str` is what logs and errors call it."""

    host: str
    port: int
    username: str | None = None
    tls: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_target(raw: object) -> Address:
    """Read redis://[user@]host[:port] or rediss://, which is TLS; valkey(s):// is the same.

    Raises:
        ValueError: It is something else; a password in it is not shown.
    """
    if not isinstance(raw, str):
        raise ValueError("must be a URL such as redis://127.0.0.1:6379")
    scheme, mark, rest = raw.partition("://")
    host = rest.rpartition("@")[2]  # all of a user name and password is before the last @
    shown = f"{scheme}://{host}" if mark else raw.rpartition("@")[2]
    if not mark:
        raise ValueError(f"{shown!r} is not a URL such as redis://127.0.0.1:6379")
    if scheme not in ("redis", "valkey", "rediss", "valkeys"):
        raise ValueError(f"{shown!r}: the scheme must be redis:// or rediss://")
    try:
        parts = urlsplit(raw)
        port = _DEFAULT_PORT if parts.port is None else parts.port
    except ValueError:
        raise ValueError(f"{shown!r}: not a valid host and port") from None
    if parts.password is not None:
        raise ValueError(
            f"{shown!r}: a password does not belong into the URL: use password_file or password"
        )
    if port == 0 or not parts.hostname or not parts.hostname.isprintable() or " " in host:
        raise ValueError(f"{shown!r}: not a valid host and port")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(
            f"{shown!r}: nothing may follow the port: the stream has all databases, "
            "each goes into the one of the same number"
        )
    return Address(
        parts.hostname,
        port,
        unquote(parts.username) if parts.username else None,
        tls=scheme in ("rediss", "valkeys"),
    )
