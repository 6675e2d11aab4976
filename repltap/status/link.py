"""The link to the master, as the status shows it. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from repltap.addresses import host_port
from repltap.position import Offset
from repltap.status.sentinel import SentinelStatus


class LinkState(Enum):
    """Where the link to the master stands; the values are what ROLE calls them, where it can."""

    CONNECT = "connect"  # waiting to try (backoff)
    CONNECTING = "connecting"
    HANDSHAKE = "handshake"
    SYNC = "sync"
    CONNECTED = "connected"
    PAUSED = "paused"  # reading stopped on purpose: no room on the disk
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncProgress:
    """A snapshot on its way in.

    Attributes:
        offset: The stream offset it describes.
        total_bytes: Its size, or None while the master streams it with an end mark.
        received_bytes: What has arrived.
        started_at: When the master granted it.
        last_io_at: When a byte of it last arrived.
    """

    offset: Offset
    total_bytes: int | None
    received_bytes: int
    started_at: float
    last_io_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamStatus:
    """The link to the master.

    Attributes:
        host, port: Where it is.
        source: What sinks and metrics call it, "" for host and port.
        configured: The configured master, where REPLICAOF has put another in its place, else "".
        kept: That other master is followed after a restart too (CONFIG REWRITE).
        sentinel: Who names the master, None where it is configured.
        state: Where the link stands.
        last_error: Why the last attempt or link ended, "" when it never failed since it was up.
        last_io_at: When a byte last arrived, or None.
        up_since, down_since: When the state last changed; None when it never was up (or down).
        sync: The snapshot now arriving, if any.
        acked_offset: What the master was last told, or None on a link that is not up.
        ack_policy: What it is told: `received`, `durable` or `quorum:N`.
        server_version: From the snapshot's AUX fields, "" when not known.
        connects, disconnects: Links that came up / went down since the start.
        attempts: Connections tried since the link was last up.
        next_try_at: When the next attempt is due, or None.
        master_offset: The end of the master's stream when it was last asked.
        lag_bytes: What of that has not come.
        lag_seconds: For how long the first of these bytes has been there, 0 when there is none;
            at most `upstream.poll_seconds` too few.
        master_offset_error: Why `master_offset`, `lag_bytes` and `lag_seconds` are not known, ""
            when they are, or will be soon.
    """

    host: str
    port: int
    state: LinkState
    last_error: str = ""
    last_io_at: float | None = None
    up_since: float | None = None
    down_since: float | None = None
    sync: SyncProgress | None = None
    acked_offset: Offset | None = None
    ack_policy: str = "received"
    server_version: str = ""
    connects: int = 0
    disconnects: int = 0
    attempts: int = 0
    next_try_at: float | None = None
    source: str = ""
    sentinel: SentinelStatus | None = None
    configured: str = ""
    kept: bool = False
    master_offset: Offset | None = None
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    master_offset_error: str = ""

    @property
    def address(self) -> str:
        """The master for people: host and port, or the path of its unix socket (port 0)."""
        return host_port(self.host, self.port) if self.port else self.host
