"""What a replica says about itself, and the answers to REPLCONF.

Answers are a real master's, byte for byte (`replconfCommand`; fact sheet 1.3 and 5.6). Options that
open a second connection are refused as unknown, so that nobody waits for one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from repltap.errors import RemoteProtocolError
from repltap.position import Offset
from repltap.protocol.psync import MAX_TOLD_OFFSET, parse_integer

_VERSION = re.compile(rb"(\d{1,3})\.(\d{1,3})\.(\d{1,3})")
_MAX_ADDRESS_BYTES = 255
_MAX_CAPABILITIES = 32
_MAX_TOKEN_BYTES = 64
_MAX_QUOTED_BYTES = 128
OK = b"+OK\r\n"


@dataclass(slots=True)
class ReplicaInfo:
    """One replica, as it described itself and as its ACKs show it."""

    listening_port: int = 0
    ip_address: str | None = None
    capabilities: set[str] = field(default_factory=set)
    version: str | None = None
    rdb_only: bool = False
    filter: str | None = None  # "": no data (redis-cli --replica); "functions": nothing else
    acked: Offset | None = None  # highest ACK
    durable: Offset | None = None  # highest FACK
    last_ack_at: float | None = None  # of an ACK or a newline; INFO's lag counts from here
    legacy_sync: bool = False  # came with SYNC: no offsets, no ACK is expected
    cluster_node: bool = False  # said that it is a node of a cluster (Valkey 9)


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """`REPLCONF ACK <offset> [FACK <offset>]`.

    `offset` is None when it is absurd: a sign of life, and nothing to count with.
    """

    offset: Offset | None
    durable: Offset | None


def parse_acknowledgement(args: list[bytes]) -> Acknowledgement | None:
    """Read a REPLCONF as an ACK.

    Args:
        args: The whole command.

    Returns:
        The ACK; None when it is another REPLCONF, or its number is none. A negative offset counts
        as 0: Valkey 9.1 says `ACK -1` after a SYNC (fact sheet 5.7). One past `MAX_TOLD_OFFSET`
        counts as none.
    """
    if len(args) < 3 or args[1].lower() != b"ack":
        return None
    try:
        offset = _offset(args[2])
        durable = None
        if len(args) > 4 and args[3].lower() == b"fack":
            durable = _offset(args[4])
    except RemoteProtocolError:
        return None  # a real master ignores it without a word
    return Acknowledgement(offset, durable)


def _offset(raw: bytes) -> Offset | None:
    number = parse_integer(raw)
    return Offset(max(0, number)) if number <= MAX_TOLD_OFFSET else None


def answer_replconf(replica: ReplicaInfo, args: list[bytes]) -> bytes:
    """Apply a REPLCONF of a connection that is not a replica yet.

    Args:
        replica: What is known of it; options before a refused one stay applied, as in Redis.
        args: The whole command.

    Returns:
        The reply, which is empty for ACK and GETACK.
    """
    if len(args) % 2 == 0:
        return b"-ERR syntax error\r\n"
    for name, value in zip(args[1::2], args[2::2], strict=True):
        option = name.lower()
        if option in (b"ack", b"getack"):
            return b""
        apply = _OPTIONS.get(option)
        try:
            if apply is None:
                raise RemoteProtocolError(
                    f"ERR Unrecognized REPLCONF option: {_quoted(name)}",
                )
            apply(replica, value)
        except RemoteProtocolError as exc:
            return b"-%b\r\n" % exc.message.encode()
    return OK


def _quoted(raw: bytes) -> str:
    text = raw[:_MAX_QUOTED_BYTES].decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else "?" for c in text)


def _listening_port(replica: ReplicaInfo, value: bytes) -> None:
    replica.listening_port = parse_integer(value)  # Redis takes any number, 99999999 too


def _ip_address(replica: ReplicaInfo, value: bytes) -> None:
    if len(value) > _MAX_ADDRESS_BYTES:
        raise RemoteProtocolError(
            f"ERR REPLCONF ip-address provided by replica instance is too long: {len(value)} bytes"
        )
    replica.ip_address = _quoted(value) or None


def _capa(replica: ReplicaInfo, value: bytes) -> None:
    # Unknown ones are taken too, in a bounded number: the shell may know more than this module.
    if len(value) <= _MAX_TOKEN_BYTES and len(replica.capabilities) < _MAX_CAPABILITIES:
        replica.capabilities.add(_quoted(value.lower()))


def _version(replica: ReplicaInfo, value: bytes) -> None:
    match = _VERSION.fullmatch(value)
    if match is None or any(int(part) > 255 for part in match.groups()):
        raise RemoteProtocolError(f"ERR Unrecognized version format: {_quoted(value)}")
    replica.version = value.decode("ascii")


def _rdb_only(replica: ReplicaInfo, value: bytes) -> None:
    number = parse_integer(value)
    if number not in (0, 1):
        raise RemoteProtocolError("ERR value is out of range, value must between 0 and 1")
    replica.rdb_only = number == 1


def _rdb_filter_only(replica: ReplicaInfo, value: bytes) -> None:
    if value not in (b"", b"functions"):
        raise RemoteProtocolError(f"ERR Unsupported rdb-filter-only option: {_quoted(value)}")
    replica.filter = value.decode("ascii")


def _no_compress(_replica: ReplicaInfo, value: bytes) -> None:
    parse_integer(value)  # a wish that a stored RDB can't grant; the replica reads either


def _cluster_only(replica: ReplicaInfo, _value: bytes) -> None:
    replica.cluster_node = True  # it takes the error for a trifle, and asks to sync all the same
    raise RemoteProtocolError("ERR This instance has cluster support disabled")


_OPTIONS = {
    b"listening-port": _listening_port,
    b"ip-address": _ip_address,
    b"capa": _capa,
    b"version": _version,
    b"rdb-only": _rdb_only,
    b"rdb-filter-only": _rdb_filter_only,
    b"rdb-no-compress": _no_compress,
    b"set-cluster-node-id": _cluster_only,
}
