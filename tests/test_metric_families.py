"""Families as they are written: names, units, zeros."""

from __future__ import annotations

from enum import Enum

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from repltap.metric_families import by_reason, counter, gauge, info, one_hot, unit_of


class Why(Enum):
    THIS = "this"
    THAT = "that"


class One(Collector):
    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> list[Metric]:
        return [self._family]


def written(family: Metric) -> list[str]:
    registry = CollectorRegistry()
    registry.register(One(family))
    text = generate_latest(registry).decode()
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_names() -> None:
    assert written(gauge("lag_bytes", "Lag.", 3)) == ["repltap_lag_bytes 3.0"]
    assert written(counter("connects", "Times.", 2)) == ["repltap_connects_total 2.0"]
    assert written(info("build", "Which.", {"version": "1"})) == [
        'repltap_build_info{version="1"} 1.0'
    ]


def test_units() -> None:
    assert [unit_of(name) for name in ("lag_bytes", "age_seconds", "connects", "bytes")] == [
        "bytes",
        "seconds",
        "",
        "bytes",
    ]


def test_one_of_the_states_is_now() -> None:
    assert written(one_hot("state", "Where.", Why, Why.THAT)) == [
        'repltap_state{state="this"} 0.0',
        'repltap_state{state="that"} 1.0',
    ]


def test_what_has_not_occurred_is_zero() -> None:
    assert written(by_reason("ends", "Why.", Why, {"that": 4})) == [
        'repltap_ends_total{reason="this"} 0.0',
        'repltap_ends_total{reason="that"} 4.0',
    ]
