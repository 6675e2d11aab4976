"""What the target is, found out when it is opened, and whether it can take the stream at all."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace

import hiredis

from repltap.sink import SinkError, SinkErrorKind
from sinks._redis.connection import Connection, Reply, pack
from sinks._redis.faults import refused

_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
_MAX_DATABASES = 1 << 31  # CONFIG's own limit is INT_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A target.

    Attributes:
        vendor: `redis` or `valkey`.
        version: Three numbers.
        databases: How many it has.
        keys: How many keys it has, those that have expired but are still there included.
        libraries: How many libraries of functions it has.
        evicts: It drops keys when its memory is full.
        clock_seconds: How far its clock is ahead of this machine's.
        imports: It leaves expiring to this connection (Valkey's import mode).
    """

    vendor: str
    version: tuple[int, int, int]
    databases: int
    keys: int
    libraries: int
    evicts: bool
    clock_seconds: float
    imports: bool

    @property
    def name(self) -> str:
        """As `SinkContext.resp_form` takes it."""
        return f"{self.vendor}-{self.version[0]}.{self.version[1]}"

    @property
    def has_functions(self) -> bool:
        """Tell whether it knows FUNCTION."""
        return self.version >= (7, 0, 0)

    @property
    def has_absolute_set(self) -> bool:
        """Tell whether its SET takes PXAT."""
        return self.version >= (6, 2, 0)

    @property
    def knows_import_mode(self) -> bool:
        """Tell whether it can leave expiring to who writes to it."""
        return self.vendor == "valkey" and self.version >= (8, 1, 0)


def log_in(connection: Connection, password: str | None, name: str) -> None:
    """Authenticate, and say who it is to who lists the clients.

    Raises:
        SinkError: The target does not let us, or is away.
    """
    if password is not None:
        user = connection.address.username
        words = [b"AUTH", *([user.encode()] if user else []), password.encode()]
        _ok(connection, connection.call(*words), "AUTH")
    # Names have no spaces; what the target says to it does not matter.
    connection.call(b"CLIENT", b"SETNAME", f"repltap-{name}".encode())


def examine(connection: Connection, *, import_mode: str) -> Server:
    """Find out what the target is.

    Args:
        connection: Logged in.
        import_mode: `yes`: switch it on, `auto`: use it where it is on, `no`.

    Raises:
        SinkError: It can't take the stream, for now or at all.
    """
    reply = _ok(connection, connection.call(b"INFO"), "INFO")
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else ""
    info = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    _check(connection, info)
    vendor = "valkey" if info.get("server_name") == "valkey" else "redis"
    match = _VERSION.match(info.get("valkey_version") or info.get("redis_version", ""))
    if match is None:
        raise SinkError(
            f"{connection.address} does not say its version",
            kind=SinkErrorKind.UNSUPPORTED,
            passes=False,
        )
    server = Server(
        vendor=vendor,
        version=(int(match[1]), int(match[2]), int(match[3] or 0)),
        databases=_databases(connection),
        keys=sum(int(count) for count in re.findall(r"^db\d+:keys=(\d+)", text, re.MULTILINE)),
        libraries=int(info.get("number_of_libraries", "0")),
        evicts=info.get("maxmemory", "0") != "0"
        and info.get("maxmemory_policy", "noeviction") != "noeviction",
        clock_seconds=_clock(connection),
        imports=False,
    )
    if import_mode != "no" and _import(connection, server, force=import_mode == "yes"):
        return replace(server, imports=True)
    return server


def _check(connection: Connection, info: dict[str, str]) -> None:
    target = connection.address
    mode = info.get("redis_mode") or info.get("server_mode", "standalone")
    if mode != "standalone" or info.get("cluster_enabled", "0") == "1":
        raise SinkError(
            f"{target} runs in {mode} mode",
            hint="the redis sink writes to a single server",
            kind=SinkErrorKind.UNSUPPORTED,
            passes=False,
        )
    if info.get("loading", "0") != "0":
        raise SinkError(f"{target} is loading its data", kind=SinkErrorKind.AWAY)
    if info.get("role", "master") != "master":
        raise SinkError(
            f"{target} is a replica: it takes no writes",
            hint="name its master; where it was the master, failing over back helps too",
            kind=SinkErrorKind.AWAY,
        )


def _databases(connection: Connection) -> int:
    """Count its databases by trying: CONFIG is often not allowed, INFO does not have it."""
    highs = [(1 << bits) - 1 for bits in range(1, _MAX_DATABASES.bit_length())]
    connection.send(b"".join([_select(number) for number in highs]))
    replies = [connection.reply() for _ in highs]
    known = 0
    unknown = _MAX_DATABASES
    for number, reply in zip(highs, replies, strict=True):
        if isinstance(reply, hiredis.ReplyError):
            unknown = number
            break
        known = number
    while unknown - known > 1:
        middle = (known + unknown) // 2
        connection.send(_select(middle))
        if isinstance(connection.reply(), hiredis.ReplyError):
            unknown = middle
        else:
            known = middle
    _ok(connection, connection.call(b"SELECT", b"0"), "SELECT")
    return known + 1


def _select(number: int) -> bytes:
    return pack((b"SELECT", b"%d" % number))


def _clock(connection: Connection) -> float:
    before = time.time()
    reply = _ok(connection, connection.call(b"TIME"), "TIME")
    after = time.time()
    if not isinstance(reply, list):
        return 0.0
    return int(reply[0]) + int(reply[1]) / 1e6 - (before + after) / 2


def _import(connection: Connection, server: Server, *, force: bool) -> bool:
    """Make the target leave expiring to this connection, if that can be."""
    if not server.knows_import_mode:
        if force:
            raise SinkError(
                f"{connection.address} is a {server.name}: it has no import mode",
                hint="Valkey has it since 8.1; else set import_mode = auto or no",
                kind=SinkErrorKind.UNSUPPORTED,
                passes=False,
            )
        return False
    if force:
        _ok(connection, connection.call(b"CONFIG", b"SET", b"import-mode", b"yes"), "CONFIG SET")
    reply = connection.call(b"CLIENT", b"IMPORT-SOURCE", b"ON")
    if force:
        _ok(connection, reply, "CLIENT IMPORT-SOURCE")
    return not isinstance(reply, hiredis.ReplyError)


def _ok(connection: Connection, reply: Reply, cmd: str) -> Reply:
    if isinstance(reply, hiredis.ReplyError):
        raise refused(connection.address, str(reply), cmd)
    return reply
