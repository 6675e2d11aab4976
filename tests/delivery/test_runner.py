"""The runner against stored streams: everything, in order, whatever ends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from repltap.delivery.place import Phase, Place
from repltap.delivery.runner import Pace
from repltap.sink import SnapshotMode
from repltap.store.checkpoints import Checkpoint, Checkpoints
from tests.delivery.stored import Stored, sets
from tests.delivery.targets import (
    Killed,
    PlaceSink,
    PlainSink,
    StateSink,
    Target,
    deliver,
    once,
    shown,
)
from tests.stored import OTHER, REPLID, START, command

KINDS = [PlainSink, StateSink, PlaceSink]


def test_the_stream_is_delivered_and_committed(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(1, 2)).append(sets(3))
    target = Target()
    deliver(tmp_path, target)
    assert shown(target.records) == ["SET k:1", "SET k:2", "SET k:3"]
    assert target.calls[0] == "open"
    # The last commit is kept when `idle` comes, so a file can be given its final name.
    assert target.calls[-3:] == ["commit", "idle", "close"]
    stored.append(sets(4))
    deliver(tmp_path, target)
    assert shown(target.records) == ["SET k:1", "SET k:2", "SET k:3", "SET k:4"]


def test_a_snapshot_comes_first(tmp_path: Path) -> None:
    Stored(tmp_path).begin(sets(1))
    target = Target()
    deliver(tmp_path, target, mode=SnapshotMode.INITIAL)
    keys = ["key one", "key two", "key three", "key four"]
    assert shown(target.records) == ["snapshot_begin", *keys, "snapshot_end", "SET k:1"]


FIRST = Place(phase=Phase.WANTED, history=1, replid=REPLID, offset=START)


def begin_in_the_first(path: Path) -> None:
    """Let the sink have been in the first history before there was another."""
    saved = Checkpoint(sink="test", place=FIRST.as_dict(), state={}, saved_at=0.0)
    Checkpoints(path / "checkpoints").save(saved)


def eventful(path: Path) -> list[str]:
    """A store with everything in it; what it has to deliver."""
    stored = Stored(path).begin(sets(1, 2))
    stored.append(command(b"MULTI") + sets(3, 4) + command(b"EXEC"))
    stored.fail_over(OTHER).append(command(b"SELECT", b"2") + sets(5))
    stored.begin(sets(6), replid=OTHER[::-1].replace("f", "e"), offset=50, keys=(b"x", b"y"))
    stored.append(sets(7))
    stored.close()
    begin_in_the_first(path)
    return [
        *("snapshot_begin", "key one", "key two", "key three", "key four", "snapshot_end"),
        *("SET k:1", "SET k:2", "SET k:3", "SET k:4"),
        *("history failover", "SET k:5", "history full_resync"),
        *("snapshot_begin", "key x", "key y", "snapshot_end"),
        *("SET k:6", "SET k:7"),
    ]


def test_everything_is_delivered_in_order(tmp_path: Path) -> None:
    expected = eventful(tmp_path)
    target = Target()
    deliver(tmp_path, target, mode=SnapshotMode.WHEN_NEEDED)
    assert shown(target.records) == expected


class CrashPlan:
    """Kills at the n-th step, once."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.killed = False

    def __call__(self, what: str) -> None:
        self.left -= 1
        if self.left == 0:
            self.killed = True
            raise Killed


@pytest.mark.parametrize("kind", KINDS)
def test_a_crash_at_any_step_costs_nothing(tmp_path: Path, kind: type[PlainSink]) -> None:
    expected = eventful(tmp_path)
    for at in range(1, 1000):
        begin_in_the_first(tmp_path)
        target = Target()
        target.place = FIRST.as_text()
        target.step = plan = CrashPlan(at)
        # A commit behind each batch: more places to go on from.
        said = {"mode": SnapshotMode.WHEN_NEEDED, "pace": Pace(commit_bytes=1)}
        try:
            deliver(tmp_path, target, kind, **said)
        except Killed:
            deliver(tmp_path, target, kind, **said)
        if kind is PlainSink:
            assert shown(once(target.records)) == expected, at
        else:
            assert shown(target.records) == expected, at
        if not plan.killed:
            assert at > 30
            return
