"""When a stored snapshot is too old to be sent, and when another is due."""

from __future__ import annotations

from pathlib import Path

import pytest

from repltap.config import SnapshotConfig
from repltap.net.staleness import Staleness
from repltap.position import Offset
from repltap.status.refresh import RefreshReason
from repltap.store.snapshots import Snapshot

CREATED = 1_000_000.0


def snapshot(offset: int = 500) -> Snapshot:
    return Snapshot(Offset(offset), Path("x.rdb"), 10, "REDIS0011", 0, {}, CREATED, 1.0)


def judge(config: SnapshotConfig, end: int, age: float = 0.0) -> RefreshReason | None:
    return Staleness(config).judge(snapshot(), Offset(end), CREATED + age)


def test_the_tail() -> None:
    config = SnapshotConfig(max_tail_bytes=100)
    assert judge(config, 600) is None
    assert judge(config, 601) is RefreshReason.TAIL
    assert judge(SnapshotConfig(max_tail_bytes=0), 500) is None
    assert judge(SnapshotConfig(max_tail_bytes=0), 501) is RefreshReason.TAIL


def test_the_age() -> None:
    assert judge(SnapshotConfig(), 501, age=1e9) is None
    config = SnapshotConfig(max_age_seconds=60.0)
    assert judge(config, 501, age=60.0) is None
    assert judge(config, 501, age=61.0) is RefreshReason.AGE
    assert judge(config, 501, age=-61.0) is None  # the clock was set back


def test_one_with_no_tail_is_as_good_as_another_would_be() -> None:
    """Found by attack: an idle master was made to fork for each replica."""
    assert judge(SnapshotConfig(max_age_seconds=60.0), 500, age=61.0) is None


def test_a_tail_that_the_next_one_would_have_too_is_no_reason() -> None:
    """Else a master that is written to fast would fork for each replica."""
    staleness = Staleness(SnapshotConfig(max_tail_bytes=100))
    staleness.fetched(300)
    assert staleness.judge(snapshot(), Offset(500 + 600), CREATED) is None
    assert staleness.judge(snapshot(), Offset(500 + 601), CREATED) is RefreshReason.TAIL
    staleness.fetched(10)
    assert staleness.judge(snapshot(), Offset(500 + 101), CREATED) is RefreshReason.TAIL


@pytest.mark.parametrize(("drawn", "due_after"), [(0.0, 970.0), (0.5, 1000.0), (1.0, 1030.0)])
def test_the_schedule_has_some_jitter(drawn: float, due_after: float) -> None:
    staleness = Staleness(SnapshotConfig(refresh_seconds=1000.0), draw=lambda: drawn)
    assert staleness.scheduled
    assert not staleness.due(CREATED, CREATED + due_after - 1)
    assert staleness.due(CREATED, CREATED + due_after + 1)


def test_the_jitter_is_drawn_once_for_each_snapshot() -> None:
    drawn = iter([0.0, 1.0])
    staleness = Staleness(SnapshotConfig(refresh_seconds=1000.0), draw=lambda: next(drawn))
    for _ in range(5):
        assert staleness.due(CREATED, CREATED + 980)
    for _ in range(5):
        assert not staleness.due(CREATED + 5000, CREATED + 6020)


def test_without_any_snapshot_it_is_time() -> None:
    assert Staleness(SnapshotConfig(refresh_seconds=1000.0)).due(None, CREATED)


def test_a_clock_that_was_set_back_does_not_stop_the_schedule() -> None:
    staleness = Staleness(SnapshotConfig(refresh_seconds=1000.0), draw=lambda: 0.5)
    assert not staleness.due(CREATED, CREATED - 500_000)
    assert staleness.due(CREATED, CREATED - 500_000 + 1001)


def test_no_schedule() -> None:
    staleness = Staleness(SnapshotConfig())
    assert not staleness.scheduled
    assert not staleness.due(None, CREATED)
    assert not staleness.due(CREATED, CREATED + 1e9)
