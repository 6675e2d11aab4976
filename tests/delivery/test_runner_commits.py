"""When a sink is asked to commit, and what a commit is of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from repltap.delivery.place import Place
from repltap.delivery.runner import Pace
from repltap.delivery.stream import StreamLimits
from repltap.sink import Record
from tests.delivery.running import run_until
from tests.delivery.stored import Stored, sets
from tests.delivery.targets import (
    KillAt,
    Killed,
    PlaceSink,
    PlainSink,
    Target,
    Worker,
    deliver,
    shown,
)
from tests.stored import command

pytestmark = pytest.mark.usefixtures("without_fsync")


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
