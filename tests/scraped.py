"""What is scraped of a relay, read by the parser that Prometheus's own client ships."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families as parse

from repltap.metrics import RelayCollector
from repltap.status.relay import RelayStatus

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def registry_of(status: RelayStatus) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(RelayCollector(lambda: status))
    return registry


def scrape(status: RelayStatus) -> Samples:
    return read(generate_latest(registry_of(status)).decode())


def read(text: str) -> Samples:
    found: Samples = {}
    for family in parse(text):
        assert family.documentation, family.name
        for sample in family.samples:
            key = (sample.name.removeprefix("repltap_"), tuple(sorted(sample.labels.items())))
            assert key not in found, f"twice: {key}"
            found[key] = sample.value
    return found


def one(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((name, tuple(sorted(labels.items()))))


def names(found: Samples) -> set[str]:
    return {name for name, _ in found}
