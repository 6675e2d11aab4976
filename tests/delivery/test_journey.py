"""What a sink is given, in which order, by what has happened to the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from repltap.errors import SinkError
from repltap.sink import SnapshotMode
from tests.delivery.stored import THIRD, Stored, sets
from tests.delivery.targets import Target, deliver, shown
from tests.stored import OTHER

KEYS = ["snapshot_begin", "key one", "key two", "key three", "key four", "snapshot_end"]


def given(path: Path, target: Target, **said: object) -> list[str]:
    """Deliver what is stored; what is new."""
    before = len(target.records)
    deliver(path, target, **said)  # type: ignore[arg-type]
    return shown(target.records[before:])


@pytest.mark.parametrize("mode", list(SnapshotMode))
def test_what_a_failover_took_back_calls_for_a_snapshot(tmp_path: Path, mode: SnapshotMode) -> None:
    stored = Stored(tmp_path).begin(sets(1, 2))
    target = Target()
    given(tmp_path, target, mode=mode)
    lost = len(sets(2))
    stored.fail_over(OTHER, lost=lost).append(sets(3))
    found = given(tmp_path, target, mode=mode)
    if mode in (SnapshotMode.NEVER, SnapshotMode.INITIAL):
        assert found == [f"history failover {lost}", "SET k:3"]
    elif mode is SnapshotMode.WHEN_NEEDED:
        assert found == [
            f"history failover {lost}",
            *KEYS,
            "SET k:1",
            "history failover",
            "SET k:3",
        ]


def test_a_gap_is_told(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(1), keys=None)
    target = Target()
    given(tmp_path, target)
    stored.append(sets(*range(100, 300))).trim(stored.end - 10)
    gap, *found = given(tmp_path, target)
    assert gap.startswith("gap trimmed ")
    missing = int(gap.split()[-1])
    assert found == [f"SET k:{n}" for n in range(100 + missing // len(sets(100)), 300)]


def test_a_gap_is_bridged_by_a_snapshot(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(1), keys=None)
    target = Target()
    given(tmp_path, target)
    stored.append(sets(*range(100, 300))).add_snapshot(b"now").append(sets(400))
    stored.trim(stored.end - 100)
    missing = len(sets(*range(100, 300)))
    assert given(tmp_path, target, mode=SnapshotMode.WHEN_NEEDED) == [
        *(f"gap trimmed {missing}", "snapshot_begin", "key now", "snapshot_end", "SET k:400")
    ]


def test_on_gap_stop_fails(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(1), keys=None)
    target = Target()
    given(tmp_path, target)
    stored.append(sets(*range(100, 300))).trim(stored.end - 10)
    with pytest.raises(SinkError, match="repltap sink reset"):
        given(tmp_path, target, on_gap_stop=True)


def test_a_history_that_was_removed_is_a_gap(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(1))
    target = Target()
    given(tmp_path, target)
    old = stored.history
    stored.begin(sets(2), replid=THIRD)
    stored.store.discard(old)
    assert given(tmp_path, target) == ["gap history_removed", "history full_resync", "SET k:2"]


def test_the_mode_always_is_for_every_start(tmp_path: Path) -> None:
    Stored(tmp_path).begin(sets(1))
    target = Target()
    for _ in range(2):
        assert given(tmp_path, target, mode=SnapshotMode.ALWAYS) == [*KEYS, "SET k:1"]


def test_the_latest_is_what_comes_from_now_on(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(1))
    target = Target()
    assert given(tmp_path, target, latest=True) == []
    stored.append(sets(2))
    assert given(tmp_path, target, latest=True) == ["SET k:2"]


def test_without_a_snapshot_it_waits(tmp_path: Path) -> None:
    Stored(tmp_path).begin(sets(1), keys=None)
    with pytest.raises(SinkError, match="for a snapshot"):
        given(tmp_path, Target(), mode=SnapshotMode.INITIAL)
