"""The replicas below us and those that went, as the status shows them. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from repltap.addresses import host_port
from repltap.position import Offset


class ReplicaState(Enum):
    """Where a downstream replica stands; the values are what INFO calls them."""

    WAITING = "wait_bgsave"
    TRANSFER = "send_bulk"
    ONLINE = "online"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaStatus:
    """One replica below us.

    Attributes:
        connection_id: As CLIENT LIST shows it.
        ip, port: What it announced (port 0: nothing), else where it connected from.
        address: Its socket, `host:port`.
        state: As INFO shows it.
        sent_offset: Stream bytes handed to the kernel for it; None before its stream starts.
        acked_offset: Its last ACK, or None before the first.
        last_ack_at: When it last sent an ACK or a newline.
        lag_bytes: Journal end minus acked offset; None before the first ACK.
        lag_seconds: Age of the first byte that it has not acknowledged, 0 when there is none; None
            before the first ACK, or where the age is not known.
        version: What it said it is (`REPLCONF version`), "" when it said nothing.
        snapshot_sent_bytes, snapshot_total_bytes: Progress of its transfer, None outside one.
        queue_position: Its place among those who wait until fewer snapshots are being sent, the
            first is 1; None when it does not wait for that.
    """

    connection_id: int
    ip: str
    port: int
    address: str
    state: ReplicaState
    sent_offset: Offset | None
    acked_offset: Offset | None
    last_ack_at: float
    lag_bytes: int | None
    lag_seconds: float | None = None
    version: str = ""
    snapshot_sent_bytes: int | None = None
    snapshot_total_bytes: int | None = None
    queue_position: int | None = None

    @property
    def name(self) -> str:
        """The replica for people: what it announced, else its socket."""
        return host_port(self.ip, self.port) if self.port else self.address


@dataclass(frozen=True, slots=True, kw_only=True)
class DisconnectStatus:
    """A replica that is gone.

    Attributes:
        at: When it went.
        replica: Its announced address, or its socket's.
        reason: A value of `repltap.endings.DisconnectReason`.
        detail: A sentence, "" when the reason says it all.
        acked_offset: What it had acknowledged by then, None when nothing.
    """

    at: float
    replica: str
    reason: str
    detail: str = ""
    acked_offset: Offset | None = None
