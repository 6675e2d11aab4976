"""What Prometheus gets to see of sinks."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)

from repltap.metrics import RelayCollector
from repltap.sink import Sample
from repltap.status.sinks import HandSinkStatus, SinkState, SinkStatus
from tests.net.admin.fakes import relay_status
from tests.scraped import names, one, read, scrape


def sink(name: str, **known: object) -> SinkStatus:
    values: dict[str, object] = {"type": "file", "state": SinkState.STREAMING, **known}
    return SinkStatus(name=name, **values)  # type: ignore[arg-type]


def test_sinks() -> None:
    found = scrape(
        relay_status(
            sinks=(
                sink(
                    "a",
                    committed_offset=7,
                    lag_bytes=3,
                    lag_seconds=0.5,
                    records=10,
                    sent_bytes=100,
                    commits=4,
                    commit_seconds=2.0,
                    errors={"away": 2},
                    retries=1,
                    restarts=5,
                    discarded=6,
                    discarded_unintentional=8,
                    pinned_bytes=9,
                    lost_bytes=11,
                ),
                sink("b", state=SinkState.RETRYING),
            )
        )
    )
    assert [one(found, "sink_up", sink=name) for name in "ab"] == [1, 0]
    assert one(found, "sink_committed_offset_bytes", sink="a") == 7
    assert one(found, "sink_committed_offset_bytes", sink="b") is None
    assert one(found, "sink_lag_bytes", sink="a") == 3
    assert one(found, "sink_lag_seconds", sink="a") == 0.5
    assert one(found, "sink_records_total", sink="a") == 10
    assert one(found, "sink_bytes_total", sink="a") == 100
    assert one(found, "sink_errors_total", sink="a", type="away") == 2
    assert one(found, "sink_errors_total", sink="b", type="crash") == 0
    assert one(found, "sink_retries_total", sink="a") == 1
    assert one(found, "sink_restarts_total", sink="a") == 5
    assert one(found, "sink_discarded_records_total", sink="a", intentional="true") == 6
    assert one(found, "sink_discarded_records_total", sink="a", intentional="false") == 8
    assert one(found, "sink_delivery_seconds_count", sink="a") == 4
    assert one(found, "sink_delivery_seconds_sum", sink="a") == 2
    assert one(found, "sink_pinned_bytes", sink="a") == 9
    assert one(found, "sink_lost_bytes_total", sink="a") == 11


def test_one_that_is_run_by_hand() -> None:
    """Or forgotten: what it holds of the disk is seen."""
    hand = HandSinkStatus(
        name="old", history_number=1, offset=7, saved_at=1.0, pinned_bytes=5, lost_bytes=6
    )
    for sinks in ((), (sink("a"),)):
        found = scrape(relay_status(sinks=sinks, hand_sinks=(hand,)))
        assert one(found, "sink_pinned_bytes", sink="old") == 5
        assert one(found, "sink_lost_bytes_total", sink="old") == 6
        assert one(found, "sink_up", sink="old") is None
        assert ("sink_up" in names(found)) is bool(sinks)


def test_without_sinks_there_are_no_metrics_of_them() -> None:
    assert not any(name.startswith("sink_") for name in names(scrape(relay_status())))


def test_what_sinks_export_is_added_up_and_never_twice() -> None:
    samples = [
        Sample("commands_total", "Commands.", {"command": "set", "db": "0"}, 3),
        Sample("commands_total", "Commands.", {"command": "del", "db": "0"}, 1),
        Sample("commands_total", "Others.", {"db": "0", "command": "set"}, 4),
        Sample("commands", "A gauge of the same name.", {}, 9),
        Sample("depth", "", {}, 2.5),
        # The relay's own names are its own.
        Sample("upstream_up", "No.", {}, 5),
        Sample("disk_free_bytes", "No.", {}, 5),
        Sample("upstream_connects_total", "No.", {}, 5),
        Sample("journal_fsync_seconds_sum", "No.", {}, 5),
    ]
    registry = CollectorRegistry()
    registry.register(RelayCollector(relay_status, lambda: samples))
    found = read(generate_latest(registry).decode())
    assert one(found, "commands_total", command="set", db="0") == 7
    assert one(found, "commands_total", command="del", db="0") == 1
    assert one(found, "depth") == 2.5
    assert one(found, "upstream_up") != 5
    assert one(found, "journal_fsync_seconds_sum") != 5
    assert list(parse_openmetrics(generate_openmetrics(registry).decode()))
