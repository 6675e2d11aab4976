"""Where a worker goes on: the target's place, the checkpoint, a reset, a note."""

from __future__ import annotations

from pathlib import Path

import pytest

from repltap.delivery.place import Place
from repltap.delivery.stream import StreamState
from repltap.errors import DiskFullError, SinkError
from repltap.sink import SnapshotMode
from repltap.store.checkpoints import Checkpoints
from tests.delivery.running import (
    AWAY,
    FIRST,
    KINDS,
    FailingOnce,
    begin_in_the_first,
    reset,
    run_until,
)
from tests.delivery.stored import Stored, sets
from tests.delivery.targets import (
    KillAt,
    Killed,
    PlaceSink,
    PlainSink,
    Target,
    Worker,
    deliver,
    once,
    shown,
)
from tests.stored import OTHER, REPLID, START

pytestmark = pytest.mark.usefixtures("without_fsync")


def test_the_place_of_the_target_goes_before_the_checkpoint(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(1, 2))
    target = Target()
    deliver(tmp_path, target, PlaceSink)
    ahead = target.place
    stored.append(sets(3))
    begin_in_the_first(tmp_path)  # the checkpoint is behind
    worker = Worker(tmp_path, PlaceSink(target))
    worker.runner.run(until_end=True)
    assert shown(target.records) == ["SET k:1", "SET k:2", "SET k:3"]
    target.place, target.records = ahead, []
    deliver(tmp_path, target, PlaceSink)  # the checkpoint is ahead
    assert shown(target.records) == ["SET k:3"]


def test_after_a_reset_the_place_of_the_target_does_not_count(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(1, 2))
    target = Target()
    deliver(tmp_path, target, PlaceSink)
    begin = Checkpoints(tmp_path / "checkpoints").load("test")
    assert begin is not None
    assert begin.place is not None
    deliver(tmp_path, target, PlaceSink)
    assert shown(target.records) == ["SET k:1", "SET k:2"]
    for place, again in (
        (None, ["SET k:1", "SET k:2"]),
        (FIRST, ["snapshot_begin", "key one", "key two", "key three", "key four", "snapshot_end"]),
    ):
        target.records = []
        reset(tmp_path, place)
        worker = Worker(tmp_path, PlaceSink(target))
        worker.runner.run(until_end=True)
        assert shown(target.records)[: len(again)] == again
        saved = Checkpoints(tmp_path / "checkpoints").load("test")
        assert saved is not None
        assert saved.reset == ""
        assert saved.place == begin.place
    # The next commit names the reset no more, and the place counts again.
    stored.append(sets(3))
    deliver(tmp_path, target, PlaceSink)
    assert shown(target.records)[-1] == "SET k:3"
    assert target.place is not None
    assert "9f2c" not in target.place
    begin_in_the_first(tmp_path)
    deliver(tmp_path, target, PlaceSink)
    assert shown(target.records)[-1] == "SET k:3"


def test_a_place_that_can_not_be_read_does_not_matter_after_a_reset(tmp_path: Path) -> None:
    Stored(tmp_path).begin(sets(1))
    target = Target()
    target.place = "somebody else's"
    reset(tmp_path)
    deliver(tmp_path, target, PlaceSink)
    assert shown(target.records) == ["SET k:1"]


@pytest.mark.parametrize("place", [None, Place.stream(1, REPLID, StreamState(START, 0))])
@pytest.mark.parametrize("kind", KINDS)
def test_a_crash_at_any_step_after_a_reset_costs_nothing(
    tmp_path: Path, kind: type[PlainSink], place: Place | None
) -> None:
    Stored(tmp_path).begin(sets(1, 2)).append(sets(3))
    everything = ["SET k:1", "SET k:2", "SET k:3"]
    held = Target()
    deliver(tmp_path, held, PlaceSink)
    for at in range(1, 1000):
        reset(tmp_path, place)
        target = Target()
        target.place = held.place  # where one commit comes to again
        target.step = plan = KillAt(at)
        try:
            deliver(tmp_path, target, kind)
        except Killed:
            deliver(tmp_path, target, kind)
        found = once(target.records) if kind is PlainSink else target.records
        assert shown(found) == everything, at
        if not plan.killed:
            assert at > 8
            break


def test_a_commit_after_a_reset_that_can_not_be_saved_is_not_undone(tmp_path: Path) -> None:
    Stored(tmp_path).begin(sets(1))
    target = Target()
    deliver(tmp_path, target, PlaceSink)
    reset(tmp_path)
    target.step = FailingOnce("save", DiskFullError("no room", path=tmp_path))
    with pytest.raises(SinkError, match="no room"):
        deliver(tmp_path, target, PlaceSink)
    deliver(tmp_path, target, PlaceSink)
    assert shown(target.records) == ["SET k:1"] * 2


@pytest.mark.parametrize("place", ["", "somebody else's", '{"v":9}'])
def test_a_place_that_can_not_be_read_needs_somebody(tmp_path: Path, place: str) -> None:
    Stored(tmp_path).begin(sets(1))
    target = Target()
    target.place = place
    with pytest.raises(SinkError, match="place that the target holds") as caught:
        deliver(tmp_path, target, PlaceSink)
    assert not caught.value.passes
    assert target.calls[-1] == "close"


def one_delivered(path: Path) -> tuple[Stored, Target]:
    """A store of two commands, the first of which a sink has got and committed."""
    stored = Stored(path).begin(sets(1))
    target = Target()
    deliver(path, target)
    stored.append(sets(2))
    return stored, target


@pytest.mark.parametrize("what", ["written", "commit"])
def test_what_a_failed_sink_has_got_and_a_failover_takes_back_is_told(
    tmp_path: Path, what: str
) -> None:
    """It was never committed, but the target may have it."""
    stored, target = one_delivered(tmp_path)

    def step(said: str) -> None:
        if said == what:
            target.step = lambda _: None
            stored.fail_over(OTHER, lost=len(sets(2))).append(sets(3))
            raise AWAY

    target.step = step
    worker = Worker(tmp_path, PlainSink(target), mode=SnapshotMode.WHEN_NEEDED)
    run_until(worker, lambda: worker.bell.now > 5)
    keys = ["key one", "key two", "key three", "key four"]
    assert shown(target.records) == [
        *("SET k:1", "SET k:2", f"history failover {len(sets(2))}"),
        *("snapshot_begin", *keys, "snapshot_end", "SET k:1", "history failover", "SET k:3"),
    ]


@pytest.mark.parametrize("what", ["written", "commit"])
def test_what_a_killed_worker_has_given_and_a_failover_takes_back_is_told(
    tmp_path: Path, what: str
) -> None:
    """The next worker knows it from a note, and has forgotten it after a reset."""
    stored, target = one_delivered(tmp_path)
    target.step = FailingOnce(what, Killed())
    with pytest.raises(Killed):
        deliver(tmp_path, target)
    stored.fail_over(OTHER, lost=len(sets(2))).append(sets(3))
    deliver(tmp_path, target)
    assert shown(target.records) == [
        *("SET k:1", "SET k:2", f"history failover {len(sets(2))}", "SET k:3"),
    ]
    reset(tmp_path, Place.stream(1, REPLID, StreamState(START, 0)))
    again = Target()
    deliver(tmp_path, again)
    assert shown(again.records) == ["SET k:1", "history failover", "SET k:3"]
