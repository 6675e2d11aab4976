"""What has been counted since the start, as the status shows it. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
        tls_handshake_failures: Clients on the port with TLS that did not get in.
        login_failures: Wrong passwords and tokens, at the port and over HTTP.
        stored_damaged: Segments and snapshots that were found damaged, and are not served.

    Reasons that did not occur are absent from the mappings.
    """

    connections_received: int = 0
    connections_rejected: int = 0
    commands_processed: int = 0
    login_failures: int = 0
    tls_handshake_failures: int = 0
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
