"""What the two replication protocols report: frozen facts, in the order they happened.

This module owns the event classes alone. It holds no behaviour, so that shells and tests can name
what happened without touching a state machine.
"""

from __future__ import annotations

from dataclasses import dataclass

from repltap.endings import DisconnectReason, FailureReason
from repltap.position import Offset, ReplId
from repltap.protocol.psync import PsyncRequest

# -- upstream: we are the replica -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FullResyncGranted:
    """The master sends an RDB that holds everything below `offset` of the history `replid`."""

    replid: ReplId
    offset: Offset


@dataclass(frozen=True, slots=True)
class ResumeGranted:
    """The stream goes on from `offset`.

    `replid` is the id from here on, which may be the old one; None after a bare `+CONTINUE`, which
    means the old one too.
    """

    replid: ReplId | None
    offset: Offset


@dataclass(frozen=True, slots=True)
class SnapshotStarted:
    """The RDB's header arrived. `size_bytes` is None in the `$EOF:` form."""

    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class SnapshotChunk:
    """Verbatim RDB bytes, never the mark. Valid until the next `receive_data`."""

    data: memoryview


@dataclass(frozen=True, slots=True)
class SnapshotReceived:
    """The RDB is whole and its checksum is right, or it has none.

    `crc64` is the CRC-64 of the RDB without its last eight bytes, which is what those eight bytes
    hold (little-endian) when `checksum_present`.
    """

    size_bytes: int
    crc64: int
    checksum_present: bool


@dataclass(frozen=True, slots=True)
class StreamBytes:
    """Stream bytes over the caller's own buffer, valid until the next `receive_data`."""

    data: memoryview


@dataclass(frozen=True, slots=True)
class LinkFailed:
    """The link is over. `message` is one line for the operator, without secrets."""

    reason: FailureReason
    message: str


UpstreamEvent = (
    FullResyncGranted
    | ResumeGranted
    | SnapshotStarted
    | SnapshotChunk
    | SnapshotReceived
    | StreamBytes
    | LinkFailed
)

# -- downstream: we are the master ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CommandReceived:
    """A command that is not replication. Nothing more is parsed until `send` answered it."""

    args: list[bytes]


@dataclass(frozen=True, slots=True)
class SyncRequested:
    """PSYNC, or SYNC when `legacy`. Answer with `hold`, `grant_*` or `refuse`."""

    request: PsyncRequest
    legacy: bool


@dataclass(frozen=True, slots=True)
class FailoverRefused:
    """A master asked this relay to take over (`FAILOVER`) and was answered with an error.

    It goes on as master under a new replid and drops its replicas once.
    """


@dataclass(frozen=True, slots=True)
class AckReceived:
    """The replica holds everything below `offset`, and has fsynced what is below `durable`."""

    offset: Offset
    durable: Offset | None


@dataclass(frozen=True, slots=True)
class PeerFailed:
    """The peer broke the protocol, fell silent or left. Flush what is queued, then close."""

    message: str
    reason: DisconnectReason = DisconnectReason.PROTOCOL_ERROR


DownstreamEvent = CommandReceived | SyncRequested | FailoverRefused | AckReceived | PeerFailed
