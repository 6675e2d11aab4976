"""The Prometheus metrics of a relay: its `RelayStatus`, rendered when somebody asks.

Nothing is counted here, so nothing can differ from what INFO and the status API show. What is not
known is absent, never 0. Label values are bounded: states and reasons are enums, replicas are
those that are connected now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from repltap.endings import DenialReason, DisconnectReason, FailureReason
from repltap.metric_families import PREFIX, by_reason, counter, gauge, info, labelled, one_hot
from repltap.sink import Sample
from repltap.sink_metrics import sample_families, sink_metrics
from repltap.status.counters import Counters
from repltap.status.link import LinkState, UpstreamStatus
from repltap.status.refresh import RefreshReason
from repltap.status.relay import RelayStatus
from repltap.status.replicas import ReplicaState, ReplicaStatus
from repltap.status.sentinel import SentinelState
from repltap.status.store import JournalStatus


class RelayCollector(Collector):
    """Makes the metrics of one relay; register it on a registry.

    Args:
        status: Called for each scrape.
        samples: Gives what the sinks export on their own.
    """

    def __init__(
        self,
        status: Callable[[], RelayStatus],
        samples: Callable[[], Iterable[Sample]] = tuple,
    ) -> None:
        self._status = status
        self._samples = samples

    def describe(self) -> Iterable[Metric]:
        """Give nothing: the names depend on what is known, and asking is the scrape's."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Make all of them."""
        taken = set()
        for family in self._own():
            taken.add(family.name)
            yield family
        yield from sample_families(self._samples(), taken)

    def _own(self) -> Iterator[Metric]:
        status = self._status()
        yield info("build", "The version of repltap that runs.", {"version": status.version})
        yield from _upstream(status)
        yield from _resyncs(status.counters)
        yield from _snapshots(status)
        yield from _downstream(status)
        yield from _disk(status)
        yield from _access(status.counters)
        if status.certificates or status.listen_tls:
            yield from _tls(status)
        if status.journal is not None:
            yield from _journal(status.journal)
        if status.sinks or status.hand_sinks:
            yield from sink_metrics(status.sinks, status.hand_sinks)


def _tls(status: RelayStatus) -> Iterator[Metric]:
    expiry = labelled(
        "tls_certificate_expiry_timestamp_seconds",
        "When our certificate ends, by who is shown it.",
        "side",
    )
    for one in status.certificates:
        expiry.add_metric([one.side], one.expires_at)
    yield expiry
    yield counter(
        "tls_handshake_failures",
        "Handshakes of clients on the port with TLS that failed.",
        status.counters.tls_handshake_failures,
    )


def _upstream(status: RelayStatus) -> Iterator[Metric]:
    upstream, counters = status.upstream, status.counters
    source = upstream.source or f"{upstream.host}:{upstream.port}"
    labels = {"source": source, "version": upstream.server_version}
    if status.journal is not None:
        labels["replid"] = status.journal.replid
    yield info("upstream", "The master that is followed, and the replid served.", labels)
    up = upstream.state is LinkState.CONNECTED
    yield gauge("upstream_up", "1 while the stream from the master runs.", up)
    yield one_hot("upstream_state", "1 for the state of the link.", LinkState, upstream.state)
    if status.journal is not None:
        yield gauge(
            "upstream_offset_bytes",
            "The offset up to which the stream has been received.",
            status.journal.end_offset,
        )
        yield gauge(
            "upstream_durable_offset_bytes",
            "The offset up to which the stream is known to be on the disk.",
            status.journal.durable_offset,
        )
    yield from _upstream_times(upstream)
    yield from _sentinels(upstream)
    received = counter(
        "upstream_received_bytes", "Bytes received over the main link.", labels=("phase",)
    )
    streamed = counters.net_repl_input_bytes - counters.upstream_snapshot_bytes
    received.add_metric(["snapshot"], counters.upstream_snapshot_bytes)
    received.add_metric(["stream"], streamed)
    yield received
    yield counter("upstream_connects", "Times that the link came up.", upstream.connects)
    yield by_reason(
        "upstream_disconnects",
        "Links to the master that ended, and attempts that failed.",
        FailureReason,
        counters.upstream_disconnects,
    )


def _sentinels(upstream: UpstreamStatus) -> Iterator[Metric]:
    if upstream.sentinel is None:
        return
    family = labelled("sentinels", "Sentinels that are known, by whether they answer.", "state")
    for state in SentinelState:
        count = sum(each.state is state for each in upstream.sentinel.sentinels)
        family.add_metric([state.value], count)
    yield family
    yield counter(
        "sentinel_switches", "Masters that took another one's place.", upstream.sentinel.switches
    )
    if upstream.sentinel.epoch is not None:
        yield gauge(
            "sentinel_epoch",
            "Configuration epoch of the master that is followed.",
            upstream.sentinel.epoch,
        )


def _upstream_times(upstream: UpstreamStatus) -> Iterator[Metric]:
    if upstream.acked_offset is not None:
        yield gauge(
            "upstream_acked_offset_bytes",
            "The offset that the master was last told.",
            upstream.acked_offset,
        )
    if upstream.master_offset is not None:
        yield gauge(
            "upstream_master_offset_bytes",
            "The end of the master's stream when it was last asked.",
            upstream.master_offset,
        )
    if upstream.lag_bytes is not None:
        yield gauge("upstream_lag_bytes", "What of that has not been received.", upstream.lag_bytes)
    if upstream.lag_seconds is not None:
        yield gauge(
            "upstream_lag_seconds",
            "For how long the first byte that is missing has been at the master.",
            upstream.lag_seconds,
        )
    if upstream.last_io_at is not None:
        yield gauge(
            "upstream_last_io_timestamp_seconds",
            "When a byte last came from the master.",
            upstream.last_io_at,
        )


def _resyncs(counters: Counters) -> Iterator[Metric]:
    full = counter("full_resyncs", "Full resyncs granted.", labels=("side",))
    full.add_metric(["upstream"], counters.upstream_sync_full)
    full.add_metric(["downstream"], counters.sync_full)
    yield full
    partial = counter("partial_resyncs", "Partial resyncs granted.", labels=("side",))
    partial.add_metric(["upstream"], counters.upstream_sync_partial_ok)
    partial.add_metric(["downstream"], counters.sync_partial_ok)
    yield partial
    denied = counter(
        "partial_resyncs_denied",
        "Partial resyncs that were asked for and not granted.",
        labels=("side", "reason"),
    )
    # A master does not say why.
    denied.add_metric(["upstream", "full_resync"], counters.upstream_partial_denied)
    for reason in DenialReason:
        count = counters.sync_partial_err_by_reason.get(reason.value, 0)
        denied.add_metric(["downstream", reason.value], count)
    yield denied


def _snapshots(status: RelayStatus) -> Iterator[Metric]:
    yield by_reason(
        "snapshot_refreshes",
        "Snapshots fetched over a second connection.",
        RefreshReason,
        status.counters.snapshot_refreshes_by_reason,
    )
    yield counter(
        "snapshot_refresh_failures",
        "Tries to fetch one that came to nothing.",
        status.counters.snapshot_refresh_failures,
    )
    arriving = status.upstream.sync or status.refresh
    if arriving is not None:
        yield gauge(
            "snapshot_bytes",
            "What has arrived of the snapshot that is arriving.",
            arriving.received_bytes,
        )
    if status.journal is None or not status.journal.snapshots:
        return
    newest = max(status.journal.snapshots, key=lambda snapshot: snapshot.created_at)
    yield gauge("snapshot_size_bytes", "Size of the newest snapshot.", newest.size_bytes)
    yield gauge(
        "snapshot_age_seconds",
        "Time since the newest snapshot was complete.",
        max(0.0, status.now - newest.created_at),
    )
    if newest.duration_seconds is not None:
        yield gauge(
            "snapshot_duration_seconds",
            "How long the newest snapshot took to arrive.",
            newest.duration_seconds,
        )


def _downstream(status: RelayStatus) -> Iterator[Metric]:
    states = labelled("downstream_replicas", "Replicas connected, by state.", "state")
    for state in ReplicaState:
        count = sum(replica.state is state for replica in status.replicas)
        states.add_metric([state.value], count)
    yield states
    offset = labelled("downstream_offset_bytes", "The offset it has acknowledged.", "replica")
    lag = labelled("downstream_lag_bytes", "Stream bytes it has not acknowledged.", "replica")
    late = labelled(
        "downstream_lag_seconds", "Age of the first byte it has not acknowledged.", "replica"
    )
    heard = labelled(
        "downstream_last_ack_timestamp_seconds", "When it was last heard of.", "replica"
    )
    for name, replica in _named(status.replicas).items():
        for family, value in (
            (offset, replica.acked_offset),
            (lag, replica.lag_bytes),
            (late, replica.lag_seconds),
            (heard, replica.last_ack_at),
        ):
            if value is not None:
                family.add_metric([name], value)
    yield from (offset, lag, late, heard)
    yield by_reason(
        "downstream_disconnects",
        "Replicas that were disconnected.",
        DisconnectReason,
        status.counters.replica_disconnects,
    )


def _named(replicas: Iterable[ReplicaStatus]) -> dict[str, ReplicaStatus]:
    """Give the replicas by name; of one that is there twice, its newest connection.

    A replica that came back may still have its old connection here. Two samples with the same
    labels would make Prometheus refuse the whole scrape.
    """
    newest_last = sorted(replicas, key=lambda replica: replica.connection_id)
    return {replica.name: replica for replica in newest_last}


def _access(counters: Counters) -> Iterator[Metric]:
    yield counter(
        "login_failures",
        "Wrong passwords and tokens, at the port and over HTTP.",
        counters.login_failures,
    )
    yield counter(
        "connections_rejected",
        "Connections turned away: there were too many, or nobody has to log in and they came from "
        "another machine.",
        counters.connections_rejected,
    )


def _disk(status: RelayStatus) -> Iterator[Metric]:
    if status.file_system_free_bytes is not None:
        free = status.file_system_free_bytes
        yield gauge("disk_free_bytes", "What the file system has left.", free)
    yield gauge(
        "store_disk_bytes", "What journals and snapshots take, of the quota.", status.stored_bytes
    )
    yield counter(
        "store_damaged",
        "Segments and snapshots that were found damaged, and are not served.",
        status.counters.stored_damaged,
    )
    if status.quota_bytes is not None:
        yield gauge("quota_bytes", "The limit on all that is stored.", status.quota_bytes)
    if status.quota_usable_bytes is not None:
        yield gauge(
            "quota_usable_bytes",
            "What of the quota may be stored before consumers lose journal that they need.",
            status.quota_usable_bytes,
        )
    fsyncs = SummaryMetricFamily(
        f"{PREFIX}journal_fsync_seconds",
        "How many fsyncs the journal took, and how long.",
        unit="seconds",
    )
    fsyncs.add_metric([], status.counters.journal_fsyncs, status.counters.journal_fsync_seconds)
    yield fsyncs


def _journal(journal: JournalStatus) -> Iterator[Metric]:
    yield gauge("journal_first_offset_bytes", "The first offset held.", journal.first_offset)
    yield gauge("journal_end_offset_bytes", "The offset after the last byte.", journal.end_offset)
    yield gauge(
        "journal_retain_bytes",
        "What is kept at least for consumers that come back, as configured.",
        journal.retain_bytes,
    )
    yield gauge("journal_disk_bytes", "What the journal takes on the disk.", journal.disk_bytes)
