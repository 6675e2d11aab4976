"""Families of samples with their names, as Prometheus's client wants them.

Every name has the prefix and a unit; counters end in `_total` where they are written. What has not
occurred is 0 where that is known, so that its rise is seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)

PREFIX = "repltap_"
_UNITS = ("bytes", "seconds")


def unit_of(name: str) -> str:
    """Tell the unit that a name ends in, as OpenMetrics shows it (`# UNIT`); "" for a count."""
    last = name.rpartition("_")[2]
    return last if last in _UNITS else ""


def info(name: str, text: str, labels: Mapping[str, str]) -> Metric:
    """Make a metric whose value is its labels."""
    return InfoMetricFamily(PREFIX + name, text, value=dict(labels))


def gauge(name: str, text: str, value: float) -> Metric:
    """Make a gauge with one value."""
    return GaugeMetricFamily(PREFIX + name, text, value=value, unit=unit_of(name))


def labelled(name: str, text: str, label: str) -> GaugeMetricFamily:
    """Make a gauge with a label; its samples are added."""
    return GaugeMetricFamily(PREFIX + name, text, labels=(label,), unit=unit_of(name))


def counter(
    name: str, text: str, value: float | None = None, *, labels: tuple[str, ...] | None = None
) -> CounterMetricFamily:
    """Make a counter; `_total` is added to its name when it is written."""
    return CounterMetricFamily(PREFIX + name, text, value=value, labels=labels, unit=unit_of(name))


def one_hot(name: str, text: str, states: type[Enum], now: Enum) -> Metric:
    """Make a gauge with a sample for each state, 1 for the one that is now."""
    family = labelled(name, text, "state")
    for state in states:
        family.add_metric([state.value], state is now)
    return family


def by_reason(name: str, text: str, reasons: type[Enum], counts: Mapping[str, int]) -> Metric:
    """Count by reason; one that has not occurred is known to be 0, so that its rise is seen."""
    family = counter(name, text, labels=("reason",))
    for reason in reasons:
        family.add_metric([reason.value], counts.get(reason.value, 0))
    return family
