"""All sinks of a relay: what is kept for them, how they end, and what is shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from repltap.delivery import supervisor as supervisor_module
from repltap.delivery import worker_process
from repltap.delivery.supervisor import SinkSupervisor
from repltap.feed import Feed
from repltap.holds import Hold
from repltap.position import Offset
from repltap.status.sinks import SinkState
from repltap.store.checkpoints import Checkpoints
from tests.delivery.actor import MODULE
from tests.delivery.workers import save, start_of
from tests.feeds import current, opened
from tests.stored import OTHER, START, held, until


@pytest.fixture(autouse=True)
def actor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "MODULE", MODULE)
    monkeypatch.setattr(supervisor_module, "_LOOK_SECONDS", 0.01)


@asynccontextmanager
async def supervised(feed: Feed, **plays: str) -> AsyncIterator[tuple[SinkSupervisor, list[int]]]:
    wishes: list[int] = []
    starts = [start_of(play, name) for name, play in plays.items()]
    made = SinkSupervisor(starts, feed, feed.holds, wishes.append)
    made.look()
    task = asyncio.get_running_loop().create_task(made.run())
    try:
        yield made, wishes
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_two_sinks_are_kept_running_and_shown(tmp_path: Path) -> None:
    held(tmp_path, bytes(5000))
    async with opened(tmp_path) as feed, supervised(feed, a="well", b="well") as (made, _):
        await until("reports", lambda: all(each.records for each in made.status()))
        shown = made.status()
        assert [each.name for each in shown] == ["a", "b"]
        assert {each.state for each in shown} == {SinkState.STREAMING}
        # The actor says 5: below the journal's start.
        assert [each.lag_bytes for each in shown] == [5000, 5000]
        assert [each.pinned_bytes for each in shown] == [5000, 5000]
        assert all(each.lag_seconds is not None for each in shown)
        await made.stop()
        assert {each.state for each in made.status()} == {SinkState.STOPPED}


async def test_without_sinks_it_stops_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as feed, supervised(feed) as (made, _):
        await made.stop()
        made.hurry()
        assert made.status() == ()
        assert made.samples() == []


async def test_a_sink_that_has_not_reported_is_where_its_checkpoint_is(tmp_path: Path) -> None:
    held(tmp_path, bytes(5000))
    save(tmp_path / "checkpoints", "a", 1, START + 10)
    async with opened(tmp_path) as feed:
        made = SinkSupervisor([start_of("well", "a")], feed, feed.holds, lambda _: None)
        made.look()
        assert feed.holds.of("a") == Hold(1, Offset(START + 10))
        made.hold("a", 1, Offset(START + 500))
        made.look()  # an older checkpoint than what it says
        assert feed.holds.of("a") == Hold(1, Offset(START + 500))


async def test_sinks_by_hand_are_noticed_and_forgotten(tmp_path: Path) -> None:
    held(tmp_path, bytes(5000))
    path = tmp_path / "checkpoints"
    async with opened(tmp_path) as feed, supervised(feed) as (made, _):
        assert made.by_hand() == ()
        save(path, "hand", 1, START + 1000)
        (shown,) = await until("the checkpoint", made.by_hand)
        assert (shown.name, shown.offset, shown.pinned_bytes) == ("hand", START + 1000, 4000)
        save(path, "hand", 1, START + 2000)
        await until("its progress", lambda: feed.holds.of("hand") == Hold(1, Offset(START + 2000)))
        Checkpoints(path).remove("hand")
        await until("its end", lambda: made.by_hand() == ())
        assert feed.holds.of("hand") is None


async def test_what_is_left_of_an_older_history_counts(tmp_path: Path) -> None:
    held(tmp_path, bytes(5000))
    held(tmp_path, bytes(300), replid=OTHER)
    save(tmp_path / "checkpoints", "hand", 1, START + 1000)
    async with opened(tmp_path) as feed, supervised(feed, a="well") as (made, _):
        assert [history.number for history in feed.histories()] == [1, 2]
        assert made.by_hand()[0].pinned_bytes == 4300
        await until("a report", lambda: made.status()[0].records)
        assert made.status()[0].lag_bytes == 5300


async def test_a_wish_for_a_snapshot_is_passed_on(tmp_path: Path) -> None:
    held(tmp_path, bytes(500), snapshot=b"")
    async with opened(tmp_path) as feed, supervised(feed, a="well", b="wish") as (_, wishes):
        await until("the wish", lambda: wishes)
        assert wishes == [-2]


async def test_no_snapshot_is_fetched_where_one_is_stored(tmp_path: Path) -> None:
    held(tmp_path, bytes(500))
    async with opened(tmp_path) as feed:
        await until("the check", lambda: feed.shelf.newest(lambda _: True))
        async with supervised(feed, b="wish") as (made, wishes):
            await until("a report", lambda: made.status()[0].records)
            await made.stop()
        assert not wishes


async def test_a_fault_in_here_is_logged_and_mended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "_AGAIN_SECONDS", 0.01)
    held(tmp_path, bytes(500))
    async with opened(tmp_path) as feed:
        failures = iter((True, True))

        async def fail_twice(start: object, hearer: object) -> worker_process.WorkerProcess:
            if next(failures, False):
                raise ZeroDivisionError("a fault")
            return await begin(start, hearer)  # type: ignore[arg-type]

        begin = worker_process.WorkerProcess.start
        monkeypatch.setattr(worker_process.WorkerProcess, "start", fail_twice)
        async with supervised(feed, a="well") as (made, _):
            await until("a report", lambda: made.status()[0].records)
            assert current(feed).published
    assert sum("has failed" in record.getMessage() for record in caplog.records) == 2
