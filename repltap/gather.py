"""Parts of the relay's status, taken from those who know: composition alone."""

from __future__ import annotations

from repltap.feed import Feed
from repltap.net.downstream import Downstream
from repltap.net.refresh import SnapshotRefresher
from repltap.net.serve import SyncService
from repltap.net.upstream import UpstreamLink
from repltap.status.counters import Counters
from repltap.status.store import JournalStatus, SnapshotStatus


def journal_status(feed: Feed, retain_bytes: int) -> JournalStatus | None:
    """Show the journal; None before the first snapshot has been granted."""
    history = feed.history
    if history is None:
        return None
    journal = history.journal
    return JournalStatus(
        replid=history.history.replid,
        replid2=history.history.replid2,
        second_offset=history.history.second_offset,
        first_offset=journal.start,
        end_offset=journal.end,
        durable_offset=journal.durable_end,
        retain_bytes=retain_bytes,
        disk_bytes=journal.disk_bytes,
        snapshots=tuple(
            SnapshotStatus(
                offset=snapshot.offset,
                size_bytes=snapshot.size_bytes,
                format=snapshot.format.upper(),
                created_at=snapshot.created_at,
                tail_bytes=journal.end - snapshot.offset,
                duration_seconds=snapshot.duration_seconds,
            )
            for snapshot in history.snapshots.all
        ),
        check=feed.scrub.status(),
    )


def counters(
    feed: Feed,
    link: UpstreamLink,
    downstream: Downstream,
    service: SyncService,
    refresher: SnapshotRefresher,
) -> Counters:
    """Show what has been counted since the start."""
    received, sent, replicated = downstream.traffic()
    seen = link.counters
    return Counters(
        connections_received=downstream.listeners.connections,
        connections_rejected=downstream.admission.rejected,
        commands_processed=downstream.commands,
        tls_handshake_failures=downstream.listeners.handshakes_failed,
        login_failures=downstream.logins.guard.failed_total,
        sync_full=service.full,
        sync_partial_ok=service.partial,
        sync_partial_err=service.denied,
        upstream_sync_full=seen.full_resyncs,
        upstream_sync_partial_ok=seen.partial_resyncs,
        upstream_partial_denied=seen.partial_denied,
        stored_damaged=feed.scrub.damaged,
        snapshot_refreshes=refresher.counts.total(),
        sync_partial_err_by_reason=dict(service.denials),
        snapshot_refreshes_by_reason=dict(refresher.counts),
        snapshot_refresh_failures=refresher.failures,
        net_input_bytes=received,
        net_output_bytes=sent,
        net_repl_input_bytes=seen.received_bytes,
        net_repl_output_bytes=replicated,
        upstream_snapshot_bytes=seen.snapshot_bytes,
        journal_fsyncs=feed.syncing.count,
        journal_fsync_seconds=feed.syncing.seconds,
        replica_disconnects=downstream.departures.counts,
        upstream_disconnects={reason.value: count for reason, count in seen.ends.items()},
    )
