"""The metrics of the sinks: their state as the relay knows it, and what they export themselves.

What a sink exports comes from another process: a name of the relay's own in it is left out, and the
same name from several sinks is added up. How many samples there may be is bounded where they come
in (`delivery.context`).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)

from repltap.metric_families import PREFIX, counter, labelled
from repltap.sink import Sample, SinkErrorKind
from repltap.status.sinks import HandSinkStatus, SinkState, SinkStatus

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
)

# What is known of those that are run by hand too: somebody who forgot one finds it here.
_STORED_GAUGES: tuple[tuple[str, str, Callable[[SinkStatus | HandSinkStatus], float]], ...] = (
    ("pinned_bytes", "What the store keeps for it.", lambda s: s.pinned_bytes),
)
_STORED_COUNTERS: tuple[tuple[str, str, Callable[[SinkStatus | HandSinkStatus], float]], ...] = (
    ("lost_bytes", "Journal let go before it was delivered.", lambda s: s.lost_bytes),
)

_SINK_COUNTERS: tuple[tuple[str, str, Callable[[SinkStatus], float]], ...] = (
    ("records", "Records delivered, snapshots included.", lambda s: s.records),
    ("bytes", "Bytes put out.", lambda s: s.sent_bytes),
    ("retries", "Times that its target was opened again.", lambda s: s.retries),
    ("restarts", "Times that its process was started again.", lambda s: s.restarts),
)


def sink_metrics(
    sinks: Sequence[SinkStatus], by_hand: Sequence[HandSinkStatus] = ()
) -> Iterator[Metric]:
    """Make the metrics of the sinks that are configured, and what is stored for the others.

    Args:
        sinks: Those that are configured.
        by_hand: Those that have a checkpoint here, and are run by hand or forgotten.
    """
    everybody: tuple[SinkStatus | HandSinkStatus, ...] = (*sinks, *by_hand)
    for name, text, stored in _STORED_GAUGES:
        family = labelled(f"sink_{name}", text, "sink")
        for each in everybody:
            family.add_metric([each.name], stored(each))
        yield family
    for name, text, stored in _STORED_COUNTERS:
        total = counter(f"sink_{name}", text, labels=("sink",))
        for each in everybody:
            total.add_metric([each.name], stored(each))
        yield total
    if sinks:
        yield from _delivery(sinks)


def _delivery(sinks: Sequence[SinkStatus]) -> Iterator[Metric]:
    for name, text, value in _SINK_GAUGES:
        family = labelled(f"sink_{name}", text, "sink")
        for sink in sinks:
            if (known := value(sink)) is not None:
                family.add_metric([sink.name], known)
        yield family
    for name, text, count in _SINK_COUNTERS:
        total = counter(f"sink_{name}", text, labels=("sink",))
        for sink in sinks:
            total.add_metric([sink.name], count(sink))
        yield total
    errors = counter("sink_errors", "Failures, by kind.", labels=("sink", "type"))
    left_out = counter(
        "sink_discarded_records", "Records that were left out.", labels=("sink", "intentional")
    )
    delivery = SummaryMetricFamily(
        f"{PREFIX}sink_delivery_seconds",
        "Commits, and the time from the first write to the end of each.",
        labels=("sink",),
        unit="seconds",
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
