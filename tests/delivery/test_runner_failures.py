"""Errors of the target and of the store: what is tried again, and what ends the worker."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from repltap.delivery.report import WorkerState
from repltap.delivery.runner import Pace
from repltap.errors import DiskFullError, SinkError
from repltap.sink import SnapshotMode
from tests.delivery.running import AWAY, FIRST, KINDS, FailingOnce, eventful, run_until
from tests.delivery.stored import Stored, sets
from tests.delivery.targets import PlainSink, Target, Worker, deliver, once, shown

pytestmark = pytest.mark.usefixtures("without_fsync")


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


def test_pauses_double_and_a_commit_ends_that(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
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
    # The log hears of it each minute, and that it is over.
    assert [record.getMessage() for record in caplog.records] == [
        "the target is away",
        "the target is away (8 more times since it was told last)",
        "the target is open again",
    ]


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
