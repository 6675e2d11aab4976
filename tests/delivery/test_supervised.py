"""A sink is kept running, whatever its worker does, and what that does is counted."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from repltap.delivery import supervised, worker_process
from repltap.delivery.supervised import SupervisedSink
from repltap.position import Offset
from repltap.status.sinks import SinkState
from tests.delivery.actor import MODULE
from tests.delivery.workers import start_of
from tests.stored import until


class Around:
    """Remembers what a sink tells the relay."""

    def __init__(self) -> None:
        self.held: set[tuple[str, int, int]] = set()
        self.wishes = 0

    def hold(self, sink: str, number: int, offset: Offset) -> None:
        self.held.add((sink, number, offset))

    def waits(self, sink: SupervisedSink) -> None:
        pass

    def wants_snapshot(self, sink: SupervisedSink) -> None:
        self.wishes += 1


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "MODULE", MODULE)
    monkeypatch.setattr(supervised, "_BACKOFF_MIN_SECONDS", 0.01)


@asynccontextmanager
async def running(play: str) -> AsyncIterator[tuple[SupervisedSink, Around]]:
    around = Around()
    sink = SupervisedSink(start_of(play), around)
    task = asyncio.get_running_loop().create_task(sink.run())
    try:
        yield sink, around
    finally:
        task.cancel()
        await asyncio.wait([task])


def reported(sink: SupervisedSink) -> Callable[[], bool]:
    return lambda: sink.status().records > 0


async def test_a_sink_that_is_well() -> None:
    async with running("wish") as (sink, around):
        assert sink.status().state is SinkState.STARTING
        await until("a report", reported(sink))
        await until("a wish", lambda: around.wishes)
        shown = sink.status()
        assert (shown.state, shown.committed_offset, shown.restarts) == (SinkState.STREAMING, 5, 0)
        assert shown.pid
        assert around.held == {("a-b", 1, 5)}
        await sink.stop(10)
        await until("its end", lambda: sink.stopped)
        shown = sink.status()
        assert (shown.state, shown.pid) == (SinkState.STOPPED, None)
        assert "crash" not in shown.errors


async def test_a_sink_that_crashes_is_started_again_and_counted() -> None:
    async with running("crash") as (sink, _):
        await until("restarts", lambda: sink.status().restarts >= 2)
        await until("a pause", lambda: sink.status().next_try_at)
        shown = sink.status()
        assert shown.state is SinkState.RESTARTING
        assert shown.records == 10 * (shown.restarts + 1)
        assert shown.errors == {"away": shown.restarts + 1, "crash": shown.restarts + 1}
        assert shown.last_error == "its process ended with code 7"
        # Nobody has said anything else of where it is.
        assert (shown.committed_offset, shown.history_number) == (5, 1)


async def test_the_pauses_grow_and_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def pause(_event: asyncio.Event, seconds: float) -> bool:
        pauses.append(seconds)
        await asyncio.sleep(0)
        return False

    async def fail(_start: object, _hearer: object) -> worker_process.WorkerProcess:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(supervised, "_BACKOFF_MIN_SECONDS", 0.5)
    monkeypatch.setattr(supervised, "wait_at_most", pause)
    monkeypatch.setattr(supervised.WorkerProcess, "start", fail)
    async with running("well") as (sink, _):
        await until("pauses", lambda: len(pauses) >= 10)
        assert "can't be started: Resource temporarily unavailable" in sink.status().last_error
    assert pauses[:10] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_having_been_well_makes_the_pause_short_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervised, "_WELL_SECONDS", 0.0)
    pauses: list[float] = []

    async def pause(_event: asyncio.Event, seconds: float) -> bool:
        pauses.append(seconds)
        await asyncio.sleep(0)
        return False

    monkeypatch.setattr(supervised, "wait_at_most", pause)
    async with running("crash"):
        await until("pauses", lambda: len(pauses) >= 3)
    assert set(pauses) == {0.01}


@pytest.mark.parametrize(
    ("play", "said"), [("rave", "it said a line that is no JSON"), ("deaf", "no word for")]
)
async def test_a_worker_that_is_out_of_its_mind_is_killed(
    monkeypatch: pytest.MonkeyPatch, play: str, said: str
) -> None:
    monkeypatch.setattr(supervised, "_SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(supervised, "_LOOK_SECONDS", 0.1)
    if play == "rave":
        monkeypatch.setattr(supervised, "_SILENCE_SECONDS", 1000.0)
    async with running(play) as (sink, _):
        await until("a restart", lambda: sink.status().restarts)
        assert said in sink.status().last_error


async def test_a_worker_that_does_not_stop_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running("deaf") as (sink, _):
        await until("a report", reported(sink))
        await sink.stop(0.05)
        await until("its end", lambda: sink.stopped)


async def test_a_worker_that_is_stopped_by_a_signal_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import os
    import signal

    monkeypatch.setattr(supervised, "_TERMINATE_SECONDS", 0.05)
    async with running("deaf") as (sink, _):
        await until("a report", reported(sink))
        pid = sink.status().pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        await sink.stop(0.05)
        await until("its end", lambda: sink.stopped)


async def test_hurry_ends_it_at_once() -> None:
    async with running("deaf") as (sink, _):
        await until("a report", reported(sink))
        sink.hurry()
        await until("its end", lambda: sink.stopped)
