"""The read-only view that INFO, ROLE, the JSON API, the page and the command line all render.

`repltap.app` builds one `RelayStatus` on demand; nobody else gathers state. What is not known is
`None`, never a made-up number. Times are Unix seconds unless the name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from repltap.position import NO_REPLID, Offset, ReplId
from repltap.status.access import LoginFailureStatus, ReloadStatus
from repltap.status.certificates import CertificateStatus
from repltap.status.counters import Counters
from repltap.status.link import UpstreamStatus
from repltap.status.refresh import RefreshFailureStatus, RefreshStatus
from repltap.status.replicas import DisconnectStatus, ReplicaStatus
from repltap.status.sinks import HandSinkStatus, SinkStatus
from repltap.status.store import JournalStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayStatus:
    """Everything repltap knows about itself.

    Attributes:
        version: repltap's.
        run_id: Forty hexadecimal characters, new at each start.
        pid: Of this process.
        now, started_at: Unix seconds.
        listen_host: Where the RESP port is, as configured.
        listen_port: The RESP port that is listened on; that with TLS where there is no other.
        listen_tls: The address with TLS, "" for none.
        certificates: Those that peers are shown.
        data_dir: Where the store is.
        disk_free_bytes: What file system and quota have left for us.
        file_system_free_bytes: What the file system has left, whatever the quota.
        stored_bytes: What journals and snapshots take: what the quota limits.
        quota_bytes: The limit on what is stored, None for no limit.
        quota_usable_bytes: What of it may be stored before consumers lose journal that they need:
            the rest is left free, so that the stream from the master has room. None for no limit.
        disk_full: Reading from the master has stopped for want of room.
        rss_bytes, peak_rss_bytes: Resident memory of this process.
        cpu_user_seconds, cpu_system_seconds: Used so far.
        clients: Connections on the port, replicas included.
        max_clients: The limit on them.
        repl_timeout_seconds: A replica that is silent for longer is disconnected.
        upstream: The link to the master.
        journal: None until the first snapshot has been granted.
        replicas: Those that sync from here, by connection id.
        counters: What has been counted since the start.
        recent_disconnects: The last replicas that went, newest first.
        refresh: Another snapshot of the same history on its way in, if any.
        refresh_failure: The last try to get one, if it failed.
        sinks: Those that are configured, by name.
        hand_sinks: Others that have a checkpoint.
        login_failure: Logins that failed lately, None if none has since the start.
        reloads: How the last reload of each part went; none before the first SIGHUP.
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
    quota_usable_bytes: int | None = None
    file_system_free_bytes: int | None = None
    stored_bytes: int = 0
    recent_disconnects: tuple[DisconnectStatus, ...] = ()
    sinks: tuple[SinkStatus, ...] = ()
    hand_sinks: tuple[HandSinkStatus, ...] = ()
    listen_tls: str = ""
    certificates: tuple[CertificateStatus, ...] = ()
    login_failure: LoginFailureStatus | None = None
    reloads: tuple[ReloadStatus, ...] = ()

    @property
    def replid(self) -> ReplId:
        """The replid served, zeros before there is one."""
        return self.journal.replid if self.journal else NO_REPLID

    @property
    def offset(self) -> Offset:
        """The end of what is held, 0 before there is anything."""
        return self.journal.end_offset if self.journal else Offset(0)
