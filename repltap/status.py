"""The read-only view that INFO, ROLE, the JSON API, the page and the command line all render.

`repltap.app` builds one `RelayStatus` on demand; nobody else gathers state. What is not known is
`None`, never a made-up number. Times are Unix seconds unless the name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from repltap.position import NO_REPLID, Offset, ReplId
from repltap.refresh_failure import RefreshFailureStatus


class LinkState(Enum):
    """Where the link to the master stands; the values are what ROLE calls them, where it can."""

    CONNECT = "connect"  # waiting to try (backoff)
    CONNECTING = "connecting"
    HANDSHAKE = "handshake"
    SYNC = "sync"
    CONNECTED = "connected"
    PAUSED = "paused"  # reading stopped on purpose: no room on the disk
    STOPPED = "stopped"


class ReplicaState(Enum):
    """Where a downstream replica stands; the values are what INFO calls them."""

    WAITING = "wait_bgsave"
    TRANSFER = "send_bulk"
    ONLINE = "online"


class SinkState(Enum):
    """Where a sink stands; all but the last are what its worker says."""

    STARTING = "starting"  # its target is being opened
    SNAPSHOT = "snapshot"  # a snapshot is being delivered
    STREAMING = "streaming"
    WAITING = "waiting"  # for a snapshot, or for a history to be stored
    RETRYING = "retrying"  # the target has failed; it is tried again by itself
    FAILED = "failed"  # somebody is needed; it is tried again now and then
    STOPPED = "stopped"
    RESTARTING = "restarting"  # its process has ended, and is started again


class RefreshReason(Enum):
    """Why another snapshot is fetched."""

    NO_SNAPSHOT = "no_snapshot"  # a replica needs one, and none is stored
    FORMAT = "format"  # nor can it load those that are
    TAIL = "tail"  # too much journal follows the newest
    AGE = "age"  # the newest is too old
    SCHEDULE = "schedule"  # it is time
    SINK = "sink"  # a sink needs one, and none is stored that the journal joins


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
        master_offset_error: Why these three are not known, "" when they are, or will be soon.
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
    master_offset: Offset | None = None
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    master_offset_error: str = ""


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
        return f"{self.ip}:{self.port}" if self.port else self.address


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkStatus:
    """One configured sink. Counts are since the relay started.

    Attributes:
        name, type: As configured.
        state: Where it stands.
        pid: Of its process, None where none runs.
        history_number: The history that it reads, None where that is not known.
        committed_offset: Everything below is delivered, and durable in the target; None before the
            first commit, and within a snapshot.
        delivered_offset: What the sink has been given.
        lag_bytes: Stream bytes that are not committed, in all histories; None before it is known
            where the sink begins.
        lag_seconds: Age of the first of them, 0 when there is none; None where not known.
        records, sent_bytes: Delivered, snapshots included.
        commits, commit_seconds: How many, and the time from the first write to the end of commit.
        errors: By kind.
        retries, restarts: How often its target was opened again, its process started again.
        discarded, discarded_unintentional: Records that were left out.
        last_error, last_error_at: What went wrong last, and when; "" for nothing.
        next_try_at: When it is tried again, None where nothing is due.
        pinned_bytes: What is kept for it.
        lost_bytes: What was let go before it was delivered.
        snapshot_offset, snapshot_records: The snapshot that is being delivered and how far; None
            outside one.
        exactly_once: The sink says that its target has each record once.
    """

    name: str
    type: str
    state: SinkState
    pid: int | None = None
    history_number: int | None = None
    committed_offset: int | None = None
    delivered_offset: int | None = None
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    records: int = 0
    sent_bytes: int = 0
    commits: int = 0
    commit_seconds: float = 0.0
    errors: Mapping[str, int] = field(default_factory=dict)
    retries: int = 0
    restarts: int = 0
    discarded: int = 0
    discarded_unintentional: int = 0
    last_error: str = ""
    last_error_at: float | None = None
    next_try_at: float | None = None
    pinned_bytes: int = 0
    lost_bytes: int = 0
    snapshot_offset: int | None = None
    snapshot_records: int | None = None
    exactly_once: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HandSinkStatus:
    """A sink that is not configured here and has a checkpoint: run by hand, or forgotten.

    Attributes:
        name: Of the sink.
        history_number, offset: Where its checkpoint is.
        saved_at: When it was saved.
        pinned_bytes: What is kept for it.
        lost_bytes: What was let go before it was delivered.
    """

    name: str
    history_number: int
    offset: int
    saved_at: float
    pinned_bytes: int = 0
    lost_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotStatus:
    """One stored snapshot."""

    offset: Offset
    size_bytes: int
    format: str  # the RDB magic and version, such as REDIS0011 or VALKEY080
    created_at: float
    tail_bytes: int  # journal bytes a replica needs on top of it
    duration_seconds: float | None = None  # how long it took to arrive


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckStatus:
    """How far the check of what was stored before the start is.

    Attributes:
        checked_bytes, total_bytes: Of journal and snapshots; equal when it is done.
        damaged: How many segments and snapshots were, and are served no longer.
    """

    checked_bytes: int
    total_bytes: int
    damaged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalStatus:
    """The journal of the history that is served.

    Attributes:
        replid, replid2, second_offset: As INFO shows them.
        first_offset, end_offset: What is held, half-open.
        durable_offset: Up to where it is known to be on the disk.
        retain_bytes: How much is kept at least, once there is that much (`repl_backlog_size`).
        disk_bytes: What it takes on the disk, indexes included.
        snapshots: What is stored, newest first.
        check: Of what was stored before the start; None where nothing was, or it is off.
    """

    replid: ReplId
    replid2: ReplId
    second_offset: int
    first_offset: Offset
    end_offset: Offset
    durable_offset: Offset
    retain_bytes: int
    disk_bytes: int
    snapshots: tuple[SnapshotStatus, ...] = ()
    check: CheckStatus | None = None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshStatus:
    """Another snapshot, on its way in over a second connection.

    Attributes:
        reason: Why it is fetched.
        started_at: When the master was asked.
        offset: The stream offset it describes; None before the master has granted it.
        received_bytes, total_bytes: What has arrived, of how much; None where it is not known.
        waiters: Replicas that wait for it.
        receivers: Replicas that are sent it while it arrives.
    """

    reason: RefreshReason
    started_at: float
    offset: Offset | None = None
    received_bytes: int = 0
    total_bytes: int | None = None
    waiters: int = 0
    receivers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What has been counted since the process started; names as in INFO stats.

    Attributes:
        upstream_snapshot_bytes: What of `net_repl_input_bytes` were snapshots.
        journal_fsyncs, journal_fsync_seconds: How many there were, and how long they took.
        sync_partial_err_by_reason: Partial resyncs not granted, by
            `repltap.endings.DenialReason`.
        replica_disconnects: Replicas that went, by `repltap.endings.DisconnectReason`.
        upstream_disconnects: Links to the master that ended and attempts that failed, by
            `repltap.endings.FailureReason`.
        snapshot_refreshes_by_reason: Snapshots fetched anew, by `RefreshReason`.
        snapshot_refresh_failures: Tries to that came to nothing.
        upstream_partial_denied: Partial resyncs that the master answered with a full one.
        stored_damaged: Segments and snapshots that were found damaged, and are not served.

    Reasons that did not occur are absent from the mappings.
    """

    connections_received: int = 0
    connections_rejected: int = 0
    commands_processed: int = 0
    sync_full: int = 0
    sync_partial_ok: int = 0
    sync_partial_err: int = 0
    upstream_sync_full: int = 0
    upstream_sync_partial_ok: int = 0
    snapshot_refreshes: int = 0
    snapshot_refresh_failures: int = 0
    upstream_partial_denied: int = 0
    stored_damaged: int = 0
    net_input_bytes: int = 0
    net_output_bytes: int = 0
    net_repl_input_bytes: int = 0
    net_repl_output_bytes: int = 0
    upstream_snapshot_bytes: int = 0
    journal_fsyncs: int = 0
    journal_fsync_seconds: float = 0.0
    sync_partial_err_by_reason: Mapping[str, int] = field(default_factory=dict)
    replica_disconnects: Mapping[str, int] = field(default_factory=dict)
    upstream_disconnects: Mapping[str, int] = field(default_factory=dict)
    snapshot_refreshes_by_reason: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayStatus:
    """Everything repltap knows about itself.

    Attributes:
        version: repltap's.
        run_id: Forty hexadecimal characters, new at each start.
        now, started_at: Unix seconds.
        listen_port: The RESP port that is listened on.
        data_dir: Where the store is.
        disk_free_bytes: What file system and quota have left for us.
        file_system_free_bytes: What the file system has left, whatever the quota.
        stored_bytes: What journals and snapshots take: what the quota limits.
        quota_bytes: The limit on what is stored, None for no limit.
        disk_full: Reading from the master has stopped for want of room.
        rss_bytes, peak_rss_bytes: Resident memory of this process.
        cpu_user_seconds, cpu_system_seconds: Used so far.
        clients: Connections on the port, replicas included.
        max_clients: The limit on them.
        journal: None until the first snapshot has been granted.
        recent_disconnects: The last replicas that went, newest first.
        refresh: Another snapshot of the same history on its way in, if any.
        refresh_failure: The last try to get one, if it failed.
        sinks: Those that are configured, by name.
        hand_sinks: Others that have a checkpoint.
    """

    version: str
    run_id: str
    pid: int
    now: float
    started_at: float
    listen_host: str
    listen_port: int
    data_dir: str
    disk_free_bytes: int
    disk_full: bool
    rss_bytes: int
    peak_rss_bytes: int
    cpu_user_seconds: float
    cpu_system_seconds: float
    clients: int
    max_clients: int
    repl_timeout_seconds: int
    upstream: UpstreamStatus
    journal: JournalStatus | None
    refresh: RefreshStatus | None = None
    refresh_failure: RefreshFailureStatus | None = None
    replicas: tuple[ReplicaStatus, ...] = ()
    counters: Counters = field(default_factory=Counters)
    quota_bytes: int | None = None
    file_system_free_bytes: int | None = None
    stored_bytes: int = 0
    recent_disconnects: tuple[DisconnectStatus, ...] = ()
    sinks: tuple[SinkStatus, ...] = ()
    hand_sinks: tuple[HandSinkStatus, ...] = ()

    @property
    def replid(self) -> ReplId:
        """The replid served, zeros before there is one."""
        return self.journal.replid if self.journal else NO_REPLID

    @property
    def offset(self) -> Offset:
        """The end of what is held, 0 before there is anything."""
        return self.journal.end_offset if self.journal else Offset(0)
