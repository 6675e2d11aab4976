"""The Prometheus metrics of a relay: its `RelayStatus`, rendered when somebody asks.

Nothing is counted here, so nothing can differ from what INFO and the status API show. What is not
known is absent, never 0. Label values are bounded: states and reasons are enums, replicas are
those that are connected now.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from enum import Enum

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from repltap.endings import DenialReason, DisconnectReason, FailureReason
from repltap.sink import Sample, SinkErrorKind
from repltap.status import (
    Counters,
    JournalStatus,
    LinkState,
    RefreshReason,
    RelayStatus,
    ReplicaState,
    ReplicaStatus,
    SinkState,
    SinkStatus,
    UpstreamStatus,
)

PREFIX = "repltap_"


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
        yield _info("build", "The version of repltap that runs.", {"version": status.version})
        yield from _upstream(status)
        yield from _resyncs(status.counters)
        yield from _snapshots(status)
        yield from _downstream(status)
        yield from _disk(status)
        if status.journal is not None:
            yield from _journal(status.journal)
        if status.sinks:
            yield from _sinks(status.sinks)


def _upstream(status: RelayStatus) -> Iterator[Metric]:
    upstream, counters = status.upstream, status.counters
    source = upstream.source or f"{upstream.host}:{upstream.port}"
    labels = {"source": source, "version": upstream.server_version}
    if status.journal is not None:
        labels["replid"] = status.journal.replid
    yield _info("upstream", "The master that is followed, and the replid served.", labels)
    up = upstream.state is LinkState.CONNECTED
    yield _gauge("upstream_up", "1 while the stream from the master runs.", up)
    yield _one_hot("upstream_state", "1 for the state of the link.", LinkState, upstream.state)
    if status.journal is not None:
        yield _gauge(
            "upstream_offset_bytes",
            "The offset up to which the stream has been received.",
            status.journal.end_offset,
        )
        yield _gauge(
            "upstream_durable_offset_bytes",
            "The offset up to which the stream is known to be on the disk.",
            status.journal.durable_offset,
        )
    yield from _upstream_times(upstream)
    received = _counter(
        "upstream_received_bytes", "Bytes received over the main link.", labels=("phase",)
    )
    streamed = counters.net_repl_input_bytes - counters.upstream_snapshot_bytes
    received.add_metric(["snapshot"], counters.upstream_snapshot_bytes)
    received.add_metric(["stream"], streamed)
    yield received
    yield _counter("upstream_connects", "Times that the link came up.", upstream.connects)
    yield _by_reason(
        "upstream_disconnects",
        "Links to the master that ended, and attempts that failed.",
        FailureReason,
        counters.upstream_disconnects,
    )


def _upstream_times(upstream: UpstreamStatus) -> Iterator[Metric]:
    if upstream.acked_offset is not None:
        yield _gauge(
            "upstream_acked_offset_bytes",
            "The offset that the master was last told.",
            upstream.acked_offset,
        )
    if upstream.master_offset is not None:
        yield _gauge(
            "upstream_master_offset_bytes",
            "The end of the master's stream when it was last asked.",
            upstream.master_offset,
        )
    if upstream.lag_bytes is not None:
        yield _gauge(
            "upstream_lag_bytes", "What of that has not been received.", upstream.lag_bytes
        )
    if upstream.lag_seconds is not None:
        yield _gauge(
            "upstream_lag_seconds",
            "For how long the first byte that is missing has been at the master.",
            upstream.lag_seconds,
        )
    if upstream.last_io_at is not None:
        yield _gauge(
            "upstream_last_io_timestamp_seconds",
            "When a byte last came from the master.",
            upstream.last_io_at,
        )


def _resyncs(counters: Counters) -> Iterator[Metric]:
    full = _counter("full_resyncs", "Full resyncs granted.", labels=("side",))
    full.add_metric(["upstream"], counters.upstream_sync_full)
    full.add_metric(["downstream"], counters.sync_full)
    yield full
    partial = _counter("partial_resyncs", "Partial resyncs granted.", labels=("side",))
    partial.add_metric(["upstream"], counters.upstream_sync_partial_ok)
    partial.add_metric(["downstream"], counters.sync_partial_ok)
    yield partial
    denied = _counter(
        "partial_resyncs_denied",
        "Partial resyncs that were asked for and not granted.",
        labels=("side", "reason"),
    )
    for reason in DenialReason:
        count = counters.sync_partial_err_by_reason.get(reason.value, 0)
        denied.add_metric(["downstream", reason.value], count)
    yield denied


def _snapshots(status: RelayStatus) -> Iterator[Metric]:
    yield _by_reason(
        "snapshot_refreshes",
        "Snapshots fetched over a second connection.",
        RefreshReason,
        status.counters.snapshot_refreshes_by_reason,
    )
    yield _counter(
        "snapshot_refresh_failures",
        "Tries to fetch one that came to nothing.",
        status.counters.snapshot_refresh_failures,
    )
    arriving = status.upstream.sync or status.refresh
    if arriving is not None:
        yield _gauge(
            "snapshot_bytes",
            "What has arrived of the snapshot that is arriving.",
            arriving.received_bytes,
        )
    if status.journal is None or not status.journal.snapshots:
        return
    newest = max(status.journal.snapshots, key=lambda snapshot: snapshot.created_at)
    yield _gauge("snapshot_size_bytes", "Size of the newest snapshot.", newest.size_bytes)
    yield _gauge(
        "snapshot_age_seconds",
        "Time since the newest snapshot was complete.",
        max(0.0, status.now - newest.created_at),
    )
    if newest.duration_seconds is not None:
        yield _gauge(
            "snapshot_duration_seconds",
            "How long the newest snapshot took to arrive.",
            newest.duration_seconds,
        )


def _downstream(status: RelayStatus) -> Iterator[Metric]:
    states = _labelled("downstream_replicas", "Replicas connected, by state.", "state")
    for state in ReplicaState:
        count = sum(replica.state is state for replica in status.replicas)
        states.add_metric([state.value], count)
    yield states
    offset = _labelled("downstream_offset_bytes", "The offset it has acknowledged.", "replica")
    lag = _labelled("downstream_lag_bytes", "Stream bytes it has not acknowledged.", "replica")
    late = _labelled(
        "downstream_lag_seconds", "Age of the first byte it has not acknowledged.", "replica"
    )
    heard = _labelled(
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
    yield _by_reason(
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


def _disk(status: RelayStatus) -> Iterator[Metric]:
    yield _gauge("disk_free_bytes", "What file system and quota have left.", status.disk_free_bytes)
    if status.quota_bytes is not None:
        yield _gauge("quota_bytes", "The limit on all that is stored.", status.quota_bytes)
    fsyncs = SummaryMetricFamily(
        f"{PREFIX}journal_fsync_seconds", "How many fsyncs the journal took, and how long."
    )
    fsyncs.add_metric([], status.counters.journal_fsyncs, status.counters.journal_fsync_seconds)
    yield fsyncs


def _journal(journal: JournalStatus) -> Iterator[Metric]:
    yield _gauge("journal_first_offset_bytes", "The first offset held.", journal.first_offset)
    yield _gauge("journal_end_offset_bytes", "The offset after the last byte.", journal.end_offset)
    yield _gauge("journal_disk_bytes", "What the journal takes on the disk.", journal.disk_bytes)


_SINK_UP = (SinkState.SNAPSHOT, SinkState.STREAMING, SinkState.WAITING)

_SINK_GAUGES: tuple[tuple[str, str, Callable[[SinkStatus], float | None]], ...] = (
    ("up", "1 while the sink delivers, or has delivered all.", lambda s: s.state in _SINK_UP),
    (
        "committed_offset_bytes",
        "The offset below which all is durable in its target.",
        lambda s: s.committed_offset,
    ),
    ("lag_bytes", "Stream bytes that are not committed.", lambda s: s.lag_bytes),
    ("lag_seconds", "Age of the first byte that is not committed.", lambda s: s.lag_seconds),
    ("pinned_bytes", "What the store keeps for it.", lambda s: s.pinned_bytes),
)

_SINK_COUNTERS: tuple[tuple[str, str, Callable[[SinkStatus], float]], ...] = (
    ("records", "Records delivered, snapshots included.", lambda s: s.records),
    ("bytes", "Bytes put out.", lambda s: s.sent_bytes),
    ("retries", "Times that its target was opened again.", lambda s: s.retries),
    ("restarts", "Times that its process was started again.", lambda s: s.restarts),
    ("lost_bytes", "Journal let go before it was delivered.", lambda s: s.lost_bytes),
)


def _sinks(sinks: Iterable[SinkStatus]) -> Iterator[Metric]:
    for name, text, value in _SINK_GAUGES:
        gauge = _labelled(f"sink_{name}", text, "sink")
        for sink in sinks:
            if (known := value(sink)) is not None:
                gauge.add_metric([sink.name], known)
        yield gauge
    for name, text, count in _SINK_COUNTERS:
        counter = _counter(f"sink_{name}", text, labels=("sink",))
        for sink in sinks:
            counter.add_metric([sink.name], count(sink))
        yield counter
    errors = _counter("sink_errors", "Failures, by kind.", labels=("sink", "type"))
    left_out = _counter(
        "sink_discarded_records", "Records that were left out.", labels=("sink", "intentional")
    )
    delivery = SummaryMetricFamily(
        f"{PREFIX}sink_delivery_seconds",
        "Commits, and the time from the first write to the end of each.",
        labels=("sink",),
    )
    for sink in sinks:
        for kind in SinkErrorKind:
            errors.add_metric([sink.name, kind.value], sink.errors.get(kind.value, 0))
        left_out.add_metric([sink.name, "true"], sink.discarded)
        left_out.add_metric([sink.name, "false"], sink.discarded_unintentional)
        delivery.add_metric([sink.name], sink.commits, sink.commit_seconds)
    yield from (errors, left_out, delivery)


def sample_families(samples: Iterable[Sample], taken: Container[str]) -> Iterator[Metric]:
    """Make metrics of what sinks export; the same from several sinks is added up.

    Args:
        samples: Of all sinks.
        taken: Names that are the relay's own; a second family of a name would make Prometheus
            refuse the whole scrape.
    """
    families: dict[str, tuple[Metric, dict[tuple[tuple[str, str], ...], float]]] = {}
    for sample in samples:
        name = PREFIX + sample.name
        total = name.endswith("_total")
        base = name.removesuffix("_total")
        # A summary's own samples end in these.
        if base in taken or base.removesuffix("_count").removesuffix("_sum") in taken:
            continue
        found = families.get(base)
        if found is None:
            kind = CounterMetricFamily if total else GaugeMetricFamily
            found = families[base] = (kind(base, sample.help or sample.name), {})
        if total is not isinstance(found[0], CounterMetricFamily):
            continue  # a gauge and a counter of one name: the first has it
        values = found[1]
        labels = tuple(sorted(sample.labels.items()))
        values[labels] = values.get(labels, 0.0) + sample.value
    for base, (family, values) in families.items():
        suffix = "_total" if isinstance(family, CounterMetricFamily) else ""
        for labels, value in values.items():
            family.add_sample(base + suffix, dict(labels), value)
        yield family


def _info(name: str, text: str, labels: Mapping[str, str]) -> Metric:
    return InfoMetricFamily(PREFIX + name, text, value=dict(labels))


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def _labelled(name: str, text: str, label: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, labels=(label,))


def _counter(
    name: str, text: str, value: float | None = None, *, labels: tuple[str, ...] | None = None
) -> CounterMetricFamily:
    """Make a counter; `_total` is added to its name when it is written."""
    return CounterMetricFamily(PREFIX + name, text, value=value, labels=labels)


def _one_hot(name: str, text: str, states: type[Enum], now: Enum) -> Metric:
    family = _labelled(name, text, "state")
    for state in states:
        family.add_metric([state.value], state is now)
    return family


def _by_reason(name: str, text: str, reasons: type[Enum], counts: Mapping[str, int]) -> Metric:
    """Count by reason; one that has not occurred is known to be 0, so that its rise is seen."""
    family = _counter(name, text, labels=("reason",))
    for reason in reasons:
        family.add_metric([reason.value], counts.get(reason.value, 0))
    return family
