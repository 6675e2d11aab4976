"""What a sink is given, in which order, by what has happened to the store."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from repltap import excerpt
from repltap.delivery import journey
from repltap.delivery.histories import earliest, has_later, stored_histories
from repltap.delivery.place import Place
from repltap.delivery.runner import Pace, Runner
from repltap.errors import NotRetainedError, SinkError
from repltap.sink import Kind, SnapshotMode
from repltap.store.reader import HistoryReader
from tests.delivery.stored import THIRD, Stored, sets
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
    shown,
)
from tests.delivery.worlds import World, executed
from tests.stored import OTHER, START, command

KEYS = ["snapshot_begin", "key one", "key two", "key three", "key four", "snapshot_end"]

pytestmark = pytest.mark.usefixtures("without_fsync")


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


def test_a_journal_that_is_trimmed_on_while_a_gap_is_measured_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found at a tight quota under load: a gap was counted as an error of the sink, too."""
    stored = Stored(tmp_path).begin(sets(1), keys=None)
    target = Target()
    given(tmp_path, target)
    stored.append(sets(*range(100, 300))).trim(stored.end - 10)
    looks = 0

    def trimmed_on(history: HistoryReader, pulse: Callable[[], None]) -> Place | None:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise NotRetainedError("offsets are no longer held", path=tmp_path)
        return earliest(history, pulse)

    monkeypatch.setattr(journey, "earliest", trimmed_on)
    gap, *found = given(tmp_path, target)
    assert gap.startswith("gap trimmed ")
    assert found[-1] == "SET k:299"
    assert looks == 2


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


@pytest.mark.parametrize("kind", [PlaceSink, StateSink])
@pytest.mark.parametrize("at", range(1, 20))
def test_a_removed_history_is_told_once_wherever_the_worker_dies(
    tmp_path: Path, at: int, kind: type[PlainSink]
) -> None:
    """The gap was committed with the place before it, and told again. Found by reading."""
    stored = Stored(tmp_path).begin(sets(1), keys=None)
    target = Target()
    deliver(tmp_path, target, kind)
    old = stored.history
    stored.begin(sets(2), replid=OTHER, keys=None)
    stored.store.discard(old)
    target.step = KillAt(at)
    try:
        deliver(tmp_path, target, kind)
    except Killed:
        target.step = lambda _: None
        deliver(tmp_path, target, kind)
    wanted = ["SET k:1", "gap history_removed", "history full_resync", "SET k:2"]
    assert shown(target.records) == wanted


@pytest.mark.parametrize("delivered", [sets(1), b""])
def test_an_old_history_with_nothing_but_the_end_of_a_command(
    tmp_path: Path, delivered: bytes
) -> None:
    """A sink waited in it for ever for a command to begin. Found by reading."""
    stored = Stored(tmp_path).begin(delivered, keys=None)
    target = Target()
    if delivered:
        given(tmp_path, target)
    stored.append(command(b"SET", b"k", bytes(10_000))).trim(stored.end - 10)
    gone = stored.end - START - len(delivered)
    stored.begin(sets(2), replid=OTHER, keys=None)
    found = given(tmp_path, target)
    if delivered:
        assert found == [f"gap trimmed {gone}", "history full_resync", "SET k:2"]
    else:
        assert found == ["SET k:2"]


def test_a_full_resync_from_a_replica_that_is_behind_doubles_nothing(tmp_path: Path) -> None:
    """The replid is the same, so are the bytes. They came twice. Found by reading."""
    stored = Stored(tmp_path).begin(sets(1, 2, 3))
    target = Target()
    given(tmp_path, target)
    stored.begin(offset=START + len(sets(1)))
    assert given(tmp_path, target) == ["history full_resync"]
    stored.append(sets(2))
    assert given(tmp_path, target) == []
    stored.append(sets(3, 4))
    assert given(tmp_path, target) == ["SET k:4"]


def test_the_initial_snapshot_is_still_due_behind_a_full_resync(tmp_path: Path) -> None:
    """The stream went on without one, as if it had been given. Found by reading."""
    stored = Stored(tmp_path).begin(sets(1), keys=None)
    target = Target()
    initial = SnapshotMode.INITIAL
    bell = TestBell(lambda bell: setattr(bell, "stopping", True))
    Worker(tmp_path, PlainSink(target), mode=initial, bell=bell).runner.run()
    stored.begin(sets(2), replid=OTHER)
    assert given(tmp_path, target, mode=initial) == ["history full_resync", *KEYS, "SET k:2"]
    stored.begin(sets(3), replid=THIRD)
    assert given(tmp_path, target, mode=initial) == ["history full_resync", "SET k:3"]


def test_the_old_history_is_read_once_more_when_a_later_one_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came in between the last look and the end of the history."""
    stored = Stored(tmp_path).begin(sets(1))

    def just_then(data_dir: Path, number: int) -> bool:
        if len(stored_histories(data_dir)) == 1:
            stored.append(sets(2)).begin(sets(3), replid=THIRD)
        return has_later(data_dir, number)

    monkeypatch.setattr("repltap.delivery.journey.has_later", just_then)
    assert given(tmp_path, Target()) == ["SET k:1", "SET k:2", "history full_resync", "SET k:3"]


def test_the_old_history_is_committed_before_the_new_one_is_told(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(1))
    target = Target()
    given(tmp_path, target)
    stored.append(sets(2)).begin(replid=THIRD)
    del target.calls[:]
    given(tmp_path, target)
    assert target.calls == ["open", "write", "commit", "write", "commit", "idle", "close"]


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


@pytest.mark.parametrize("kind", [PlainSink, StateSink, PlaceSink])
@pytest.mark.parametrize("seed", range(25))
def test_whatever_happens_a_sink_ends_with_the_data_of_the_master(
    tmp_path: Path, seed: int, kind: type[PlainSink]
) -> None:
    """Failovers, lost histories, gaps, and workers that are killed at random steps."""
    world = World(tmp_path, seed)
    target = Target()
    rng = random.Random(seed)
    said: dict[str, Any] = {"mode": SnapshotMode.WHEN_NEEDED, "pace": Pace(commit_bytes=100)}

    def work() -> None:
        # What was written and not committed stays in a plain target, and nobody knows of it: if a
        # failover takes that back before the next start, it can't be told.
        if kind is not PlainSink:
            target.step = KillAt(rng.randrange(1, 60))
        world.log.append("work")
        try:
            deliver(tmp_path, target, kind, **said)
        except (Killed, SinkError) as exc:  # a snapshot may be wanted that is not there yet
            world.log.append(repr(exc))

    world.between = work  # type: ignore[method-assign]
    for _ in range(40):
        world.act()
        if rng.random() < 0.4:
            work()
    world.snapshot()
    target.step = lambda _: None
    deliver(tmp_path, target, kind, **said)
    assert executed(target.records) == world.data, world.log
    ids = [record.id for record in target.records if record.kind is Kind.COMMAND]
    after_resets = sum(record.kind is Kind.SNAPSHOT_BEGIN for record in target.records)
    assert len(ids) == len(set(ids)) or after_resets > 1


def test_looking_for_a_select_goes_on_giving_signs_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one database there may be none in gigabytes: the relay took the worker for stuck."""
    monkeypatch.setattr(excerpt, "_LOOK_BACK_BYTES", 100)
    pulses = 0

    def pulse(_: Runner) -> None:
        nonlocal pulses
        pulses += 1

    monkeypatch.setattr(Runner, "_pulse", pulse)
    stored = Stored(tmp_path).begin(sets(*range(100, 200)), keys=None)
    target = Target()
    assert given(tmp_path, target, latest=True) == []
    assert pulses > 30
    pulses = 0
    stored.append(sets(200, 201))
    given(tmp_path, target)
    before, pulses = pulses, 0
    stored.fail_over(OTHER, lost=len(sets(201)))
    given(tmp_path, target)
    assert pulses > before + 30
