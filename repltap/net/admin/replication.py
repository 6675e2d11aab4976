"""ROLE and REPLICAOF; and what a relay refuses: to be promoted, to fail over, to wait.

PSYNC, SYNC and REPLCONF are listed here for COMMAND and answered by
`repltap.protocol.downstream`: they never reach a handler.
"""

from __future__ import annotations

from repltap.errors import LocalProtocolError
from repltap.net.admin.command import Call, Command, RefusedError, parse_integer, printable
from repltap.protocol import reply
from repltap.protocol.info import role_reply

_MAX_HOST_BYTES = 255
"""The longest host name there can be (RFC 1035, 2.3.4)."""

_NEVER_PROMOTED = (
    b"ERR repltap is a replication relay and is never promoted to a master: it holds no keys. "
    b"Use REPLICAOF <host> <port> to follow another master"
)


def _role(call: Call) -> bytes:
    return role_reply(call.context.status())


def _replicaof(call: Call) -> bytes:
    if call.option(1) == b"no" and call.option(2) == b"one":
        raise RefusedError(_NEVER_PROMOTED)
    host, port = call.args[1], parse_integer(call.args[2])
    # Redis lets port 0 pass and then never connects.
    if port is None or not 0 < port <= 65535:
        raise RefusedError(b"ERR Invalid master port")
    if not host or len(host) > _MAX_HOST_BYTES or not printable(host):
        raise RefusedError(b"ERR Invalid master host")
    return reply.status(call.context.repoint(host.decode("ascii"), port))


def _failover(_call: Call) -> bytes:
    raise RefusedError(b"ERR FAILOVER is not valid when server is a replica.")


def _wait(_call: Call) -> bytes:
    raise RefusedError(b"ERR WAIT cannot be used with replica instances.")


def _wait_aof(_call: Call) -> bytes:
    raise RefusedError(b"ERR WAITAOF cannot be used with replica instances.")


def _elsewhere(call: Call) -> bytes:
    raise LocalProtocolError(f"{call.args[0]!r} belongs to the replication protocol")


_DANGEROUS = ("admin", "slow", "dangerous")

COMMANDS = (
    Command(
        name="role",
        arity=1,
        handler=_role,
        summary="Tell the master, the link's state and the offset",
        since="2.8.12",
        group="server",
        flags=("noscript", "loading", "stale", "fast"),
        categories=("admin", "fast", "dangerous"),
    ),
    *(
        Command(
            name=name,
            arity=3,
            handler=_replicaof,
            summary="Follow another master",
            since=since,
            group="server",
            flags=("admin", "noscript", "stale", "no_async_loading"),
            categories=_DANGEROUS,
        )
        for name, since in (("replicaof", "5.0.0"), ("slaveof", "1.0.0"))
    ),
    Command(
        name="failover",
        arity=-1,
        handler=_failover,
        summary="Refused: a relay is never a master",
        since="6.2.0",
        group="server",
        flags=("admin", "noscript", "stale"),
        categories=_DANGEROUS,
    ),
    *(
        Command(
            name=name,
            arity=arity,
            handler=handler,
            summary="Refused, as by every replica",
            since=since,
            group="generic",
            flags=("noscript",),
            categories=("slow", "connection"),
        )
        for name, arity, handler, since in (
            ("wait", 3, _wait, "3.0.0"),
            ("waitaof", 4, _wait_aof, "7.2.0"),
        )
    ),
    Command(
        name="psync",
        arity=-3,
        handler=_elsewhere,
        summary="Ask for the stream from an offset on",
        since="2.8.0",
        group="server",
        flags=("admin", "noscript", "no_async_loading", "no_multi"),
        categories=_DANGEROUS,
    ),
    Command(
        name="sync",
        arity=1,
        handler=_elsewhere,
        summary="Ask for a snapshot and the stream",
        since="1.0.0",
        group="server",
        flags=("admin", "noscript", "no_async_loading", "no_multi"),
        categories=_DANGEROUS,
    ),
    Command(
        name="replconf",
        arity=-1,
        handler=_elsewhere,
        summary="What a replica tells before and during replication",
        since="3.0.0",
        group="server",
        flags=("admin", "noscript", "loading", "stale", "allow_busy"),
        categories=_DANGEROUS,
    ),
)
