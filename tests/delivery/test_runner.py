"""The runner against stored streams: everything, in order, whatever ends it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from repltap.delivery.place import Phase, Place
from repltap.delivery.report import WorkerState
from repltap.delivery.runner import Pace
from repltap.delivery.stream import StreamLimits, StreamState
from repltap.errors import DiskFullError, SinkError, SinkErrorKind
from repltap.sink import AnyRecord, Record, Sample, SnapshotMode, SnapshotRecord
from repltap.store.checkpoints import Checkpoint, Checkpoints
from tests.delivery.stored import Stored, sets
from tests.delivery.targets import (
    KillAt,
    Killed,
    PlaceSink,
    PlainSink,
    StateSink,
    Target,
    TestBell,
    Worker,
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


@pytest.fixture(autouse=True)
def _without_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here cuts the power, and the disk is what would take the time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(os, "fdatasync", lambda _: None)


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


@pytest.mark.parametrize("kind", KINDS)
def test_a_crash_at_any_step_costs_nothing(tmp_path: Path, kind: type[PlainSink]) -> None:
    expected = eventful(tmp_path)
    for at in range(1, 1000):
        begin_in_the_first(tmp_path)
        target = Target()
        target.place = FIRST.as_text()
        target.step = plan = KillAt(at)
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


# -- errors of the target --------------------------------------------------------------------------


class FailingOnce:
    """Raises at the n-th step of a kind, once."""

    def __init__(self, what: str, error: Exception, at: int = 1) -> None:
        self.what, self.error, self.left = what, error, at

    def __call__(self, what: str) -> None:
        if what == self.what:
            self.left -= 1
            if self.left == 0:
                raise self.error


def run_until(worker: Worker, done: Callable[[], bool]) -> None:
    """Run it until a condition holds, at most a thousand waits long."""
    waits = 0

    def waited(bell: TestBell) -> None:
        nonlocal waits
        waits += 1
        assert waits < 1000, "waited in vain"
        bell.stopping = done()

    worker.bell.waited = waited
    worker.runner.run()


AWAY = SinkError("the target is away", kind=SinkErrorKind.AWAY)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("what", "at"), [("open", 1), ("write", 3), ("written", 3), ("commit", 2), ("committed", 2)]
)
def test_an_error_that_passes_is_tried_again(
    tmp_path: Path, kind: type[PlainSink], what: str, at: int
) -> None:
    expected = eventful(tmp_path)
    target = Target()
    target.place = FIRST.as_text()
    target.step = plan = FailingOnce(what, AWAY, at)
    worker = Worker(
        tmp_path, kind(target), mode=SnapshotMode.WHEN_NEEDED, pace=Pace(commit_bytes=1)
    )
    run_until(worker, lambda: worker.progress.state is WorkerState.STREAMING)
    if plan.left > 0:
        assert (kind, what) == (PlainSink, "committed")
        return
    assert shown(once(target.records)) == expected
    if kind is not PlainSink:
        assert shown(target.records) == expected
    last = worker.bell.reports[-1]
    assert (last.state, last.errors, last.retries) == (WorkerState.STOPPED, {"away": 1}, 1)
    assert WorkerState.RETRYING in {report.state for report in worker.bell.reports}
    assert target.calls.count("open") == 2


def test_pauses_double_and_a_commit_ends_that(tmp_path: Path) -> None:
    Stored(tmp_path).begin(sets(1))
    target = Target()
    pauses: list[float] = []

    def step(what: str) -> None:
        if what == "open":
            pauses.append(worker.bell.now)
            if len(pauses) < 12:
                raise AWAY

    target.step = step
    worker = Worker(tmp_path, PlainSink(target))
    run_until(worker, lambda: bool(worker.progress.commits))
    gaps = [round(after - before, 1) for before, after in pairwise(pauses)]
    assert gaps == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0, 30.0]


def test_what_the_sink_promises_is_told_before_it_is_open(tmp_path: Path) -> None:
    class Exact(PlainSink):
        exactly_once = True

    Stored(tmp_path).begin(sets(1))
    for kind in (PlainSink, Exact):
        worker = Worker(tmp_path, kind(Target()))
        worker.runner.run(until_end=True)
        assert worker.bell.reports[0].state is WorkerState.STARTING
        assert {report.exactly_once for report in worker.bell.reports} == {kind.exactly_once}


def test_the_first_place_is_told_at_once(tmp_path: Path) -> None:
    """For up to a second the relay did not know that a new sink had begun, and kept nothing.

    A full resync then lost it what its checkpoint had promised. Seen once in a test of lag.
    """
    Stored(tmp_path).begin(sets(1))
    told: list[int | None] = []

    class Commits(PlainSink):
        def write(self, records: Sequence[AnyRecord]) -> None:
            told.append(worker.bell.reports[-1].pin_offset)
            super().write(records)

    worker = Worker(tmp_path, Commits(Target()))
    worker.runner.run(until_end=True)
    assert told[0] == START


def test_an_error_that_does_not_pass_waits_for_somebody(tmp_path: Path) -> None:
    Stored(tmp_path).begin(sets(1))
    target = Target()
    target.step = FailingOnce("write", SinkError("no", hint="do something", passes=False))
    worker = Worker(tmp_path, PlainSink(target))
    run_until(worker, lambda: bool(target.records))
    failed = [r for r in worker.bell.reports if r.state is WorkerState.FAILED]
    assert failed[0].last_error == "no (do something)"
    assert failed[0].next_try_at is not None
    assert worker.bell.now >= 60


def test_what_is_committed_is_not_given_again_because_the_checkpoint_can_not_be_saved(
    tmp_path: Path,
) -> None:
    Stored(tmp_path).begin(sets(1, 2))
    target = Target()
    full = DiskFullError("no room", path=tmp_path)
    left = 3

    def step(what: str) -> None:
        nonlocal left
        if what == "save" and left:
            left -= 1
            raise full

    target.step = step
    worker = Worker(tmp_path, PlainSink(target))
    run_until(worker, lambda: worker.progress.state is WorkerState.STREAMING and not left)
    assert shown(target.records) == ["SET k:1", "SET k:2"]
    # Nothing but close is called before the checkpoint tells of the commit.
    calls = [call for call in target.calls if call not in ("write", "idle")]
    assert calls[:5] == ["open", "commit", "close", "close", "close"]
    assert worker.bell.reports[-1].errors == {"full": 3}


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


def reset(path: Path, place: Place | None = None) -> None:
    """What `repltap sink reset` leaves."""
    where = None if place is None else place.as_dict()
    made = Checkpoint(sink="test", place=where, state={}, saved_at=0.0, reset="9f2c")
    Checkpoints(path / "checkpoints").save(made)


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


def test_anything_else_ends_the_worker(tmp_path: Path) -> None:
    Stored(tmp_path).begin(sets(1))
    target = Target()
    target.step = FailingOnce("write", ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        deliver(tmp_path, target)
    assert target.calls[-1] == "close"
    deliver(tmp_path, target)
    assert shown(target.records) == ["SET k:1"]


def test_a_state_that_is_too_large_ends_the_worker(tmp_path: Path) -> None:
    class Greedy(PlainSink):
        def commit(self, place: str) -> Mapping[str, Any] | None:
            return {"all": "x" * 70_000}

    Stored(tmp_path).begin(sets(1))
    with pytest.raises(ValueError, match="the state has 70"):
        deliver(tmp_path, Target(), Greedy)


def test_damage_in_the_store_is_told_and_tried_again(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(1))
    deliver(tmp_path, target := Target())
    stored.append(b"+OK\r\n")
    worker = Worker(tmp_path, PlainSink(target))
    run_until(worker, lambda: worker.progress.state is WorkerState.FAILED)
    assert "there is no command at offset" in worker.bell.reports[-1].last_error
    assert worker.bell.reports[-1].errors == {"source": 1}


# -- when it commits -------------------------------------------------------------------------------


def commits(path: Path, pace: Pace, waits: int) -> list[str]:
    """Run for some waits; what the sink was asked to do."""
    target = Target()
    worker = Worker(path, PlainSink(target), pace=pace)
    run_until(worker, lambda: worker.bell.waits >= waits)
    return target.calls


def test_a_commit_follows_the_first_write_by_time(tmp_path: Path) -> None:
    Stored(tmp_path).begin(sets(1)).append(sets(2))
    calls = commits(tmp_path, Pace(commit_seconds=5), 1000 - 1)
    # The place where it begins is committed at once, the records later.
    assert calls[:5] == ["open", "commit", "write", "write", "commit"]
    assert calls.count("commit") == 2
    assert calls[5:].count("idle") > 10


def test_a_commit_follows_so_many_bytes(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin()
    for number in range(10):
        stored.append(sets(number))
    size = len(sets(1))
    calls = commits(tmp_path, Pace(commit_seconds=1e9, commit_bytes=3 * size), 1)
    assert calls[:10] == ["open", "commit", *["write"] * 3, "commit", *["write"] * 3, "commit"]
    # The last one: it was told to stop.
    assert calls[-4:] == ["write", "commit", "idle", "close"]


def test_a_heartbeat_comes_when_nothing_else_does(tmp_path: Path) -> None:
    Stored(tmp_path).begin(sets(1))
    target = Target()
    worker = Worker(tmp_path, PlainSink(target), pace=Pace(heartbeat_seconds=10))
    run_until(worker, lambda: worker.bell.now > 35)
    assert shown(target.records) == ["SET k:1", "heartbeat", "heartbeat", "heartbeat"]
    assert len({record.id.split(":heartbeat")[0] for record in target.records}) == 1


class WholeSink(PlaceSink):
    whole_transactions = True


def large_transaction(path: Path) -> tuple[Stored, StreamLimits]:
    """A transaction of which a few commands are held at most."""
    stored = Stored(path).begin(sets(1))
    for part in (command(b"MULTI"), *(sets(n) for n in range(2, 12)), command(b"EXEC"), sets(12)):
        stored.append(part)
    return stored, StreamLimits(hold_bytes=2000)


@pytest.mark.parametrize("kind", [PlaceSink, WholeSink])
def test_whole_transactions_are_committed_whole(tmp_path: Path, kind: type[PlaceSink]) -> None:
    _, limits = large_transaction(tmp_path)
    target = Target()
    places: list[Place] = []

    def step(what: str) -> None:
        if what == "committed":
            assert target.place is not None
            places.append(Place.from_text(target.place))

    target.step = step
    deliver(tmp_path, target, kind, limits=limits, pace=Pace(commit_bytes=1))
    assert shown(target.records) == [f"SET k:{n}" for n in range(1, 13)]
    inside = [place for place in places if place.tx_id is not None]
    assert bool(inside) is (kind is PlaceSink)


@pytest.mark.parametrize("kind", [PlaceSink, WholeSink])
def test_a_large_transaction_is_resumed_within(tmp_path: Path, kind: type[PlaceSink]) -> None:
    _, limits = large_transaction(tmp_path)
    for at in range(1, 1000):
        target = Target()
        (tmp_path / "checkpoints" / "test.json").unlink(missing_ok=True)
        target.step = plan = KillAt(at)
        said: dict[str, Any] = {"limits": limits, "pace": Pace(commit_bytes=1)}
        try:
            deliver(tmp_path, target, kind, **said)
        except Killed:
            deliver(tmp_path, target, kind, **said)
        assert shown(target.records) == [f"SET k:{n}" for n in range(1, 13)], at
        inside = [r.tx.ordinal for r in target.records if isinstance(r, Record) and r.tx]
        assert inside == list(range(10))
        if not plan.killed:
            return


# -- what it says ----------------------------------------------------------------------------------


def test_it_says_what_it_waits_for_and_goes_on(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(1), keys=None)
    target = Target()
    worker = Worker(tmp_path, PlainSink(target), mode=SnapshotMode.INITIAL)

    def done() -> bool:
        if worker.bell.wishes == 3:
            stored.add_snapshot(b"here")
            worker.bell.wishes = 4
        return worker.progress.state is WorkerState.STREAMING

    run_until(worker, done)
    assert shown(target.records) == ["snapshot_begin", "key here", "snapshot_end"]
    states = [report.state for report in worker.bell.reports]
    assert {*states[:2], states[-1]} == {
        *(WorkerState.STARTING, WorkerState.SNAPSHOT, WorkerState.STOPPED)
    }
    assert WorkerState.WAITING in states
    # It is wished for now and then, not with each look.
    assert 10 < worker.bell.now < 20


def test_an_empty_data_directory_is_waited_for(tmp_path: Path) -> None:
    stored = Stored(tmp_path)
    target = Target()
    worker = Worker(tmp_path, PlainSink(target))

    def done() -> bool:
        if worker.progress.state is WorkerState.WAITING:
            stored.begin(sets(1))
        return bool(target.records)

    run_until(worker, done)
    assert shown(target.records) == ["SET k:1"]


def test_samples_are_asked_for_while_it_is_open(tmp_path: Path) -> None:
    class Measured(PlainSink):
        def samples(self) -> list[Sample]:
            assert self.target.calls[-1] != "close"
            return [Sample("calls_total", "Calls.", {}, len(self.target.calls))]

    Stored(tmp_path).begin(sets(1))
    target = Target()
    worker = Worker(tmp_path, Measured(target))
    run_until(worker, lambda: worker.bell.now > 3)
    assert worker.bell.reports[0].state is WorkerState.STARTING
    assert worker.bell.reports[0].samples == ()
    assert worker.bell.reports[-1].samples[0].name == "calls_total"
    assert 3 < len(worker.bell.reports) < 10


def test_stop_is_heard_within_a_long_snapshot(tmp_path: Path) -> None:
    Stored(tmp_path).begin(keys=tuple(b"%d" % n for n in range(20_000)))
    target = Target()
    worker = Worker(tmp_path, PlainSink(target), mode=SnapshotMode.INITIAL)

    def step(what: str) -> None:
        worker.bell.stopping = len(target.records) > 3000

    target.step = step
    worker.runner.run()
    assert 3000 < len(target.records) < 6000
    assert target.calls[-3:] == ["commit", "idle", "close"]
    target.step = lambda _: None
    deliver(tmp_path, target, mode=SnapshotMode.INITIAL)
    ordinals = [record.ordinal for record in target.records if isinstance(record, SnapshotRecord)]
    assert ordinals == list(range(20_000))


@pytest.mark.parametrize("what", ["written", "commit"])
def test_what_a_failed_sink_has_got_and_a_failover_takes_back_is_told(
    tmp_path: Path, what: str
) -> None:
    """It was never committed, but the target may have it."""
    stored = Stored(tmp_path).begin(sets(1))
    target = Target()
    deliver(tmp_path, target)
    stored.append(sets(2))

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
    stored = Stored(tmp_path).begin(sets(1))
    target = Target()
    deliver(tmp_path, target)
    stored.append(sets(2))

    def step(said: str) -> None:
        if said == what:
            target.step = lambda _: None
            raise Killed

    target.step = step
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
