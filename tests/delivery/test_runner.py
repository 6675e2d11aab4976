"""The runner against stored streams: everything, in order, whatever ends it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from repltap.delivery.report import WorkerState
from repltap.delivery.runner import Pace
from repltap.sink import AnyRecord, Sample, SnapshotMode, SnapshotRecord
from tests.delivery.running import FIRST, KINDS, begin_in_the_first, eventful, run_until
from tests.delivery.stored import Stored, sets
from tests.delivery.targets import KillAt, Killed, PlainSink, Target, Worker, deliver, once, shown
from tests.stored import START

pytestmark = pytest.mark.usefixtures("without_fsync")


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
