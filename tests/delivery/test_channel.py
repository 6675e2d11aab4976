"""The relay's end: it hears workers, and is not hurt by one that floods, raves or sleeps."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from repltap.config import LogConfig, SinkConfig
from repltap.delivery.channel import WorkerChannel
from repltap.delivery.control import RelayBell
from repltap.delivery.messages import WAIT, Start, report_line
from repltap.delivery.report import WorkerReport, WorkerState
from tests.delivery.workers import Heard

START = Start(
    data_dir=Path("/d"),
    source="s",
    sink=SinkConfig(name="a", type="file", settings={"x": "y" * 500_000}, origin="here"),
    log=LogConfig(),
)
REPORT = WorkerReport(state=WorkerState.STREAMING, records=5)


class Ends:
    """Both ends; the clock stands still unless it is told."""

    def __init__(self, worker: socket.socket) -> None:
        self.heard = Heard()
        self.now = 0.0
        self.channel = WorkerChannel(self.heard, lambda: self.now)
        self.worker = worker


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    ours, theirs = socket.socketpair()
    made = Ends(theirs)
    await asyncio.get_running_loop().create_connection(lambda: made.channel, sock=ours)
    with theirs:
        yield made
        made.channel.close()
        await asyncio.sleep(0)


async def test_what_a_worker_says_is_heard(ends: Ends) -> None:
    bell = RelayBell(ends.worker)
    bell.report(REPORT)
    bell.want_snapshot()
    bell.wait(0)
    await ends.heard.until("waited")
    assert ends.heard.reports == [REPORT]
    assert ends.heard.wanted == 1
    assert ends.channel.waiting


async def test_a_worker_is_started_woken_once_and_stopped(ends: Ends) -> None:
    bell = RelayBell(ends.worker)
    ends.channel.start(START)
    assert await asyncio.to_thread(bell.start) == START
    ends.channel.wake()  # it does not wait
    bell.wait(0)
    await ends.heard.until("waited")
    ends.channel.wake()
    ends.channel.wake()
    ends.channel.stop()
    await asyncio.to_thread(bell.wait, 60)
    assert bell.stopping


@pytest.mark.parametrize(
    "said",
    [
        b"hello\n",
        b'{"say":"dance"}\n',
        b'{"say":"report"}\n',
        WAIT * 501,
        b" " * (1 << 20) + b" ",
    ],
)
async def test_nonsense_and_floods_end_the_line(ends: Ends, said: bytes) -> None:
    asyncio.get_running_loop().run_in_executor(None, ends.worker.sendall, said)
    await ends.heard.until("faults")
    assert len(ends.heard.faults) == 1
    assert ends.channel.waiting is (said == WAIT * 501)
    ends.channel.wake()
    ends.channel.stop()


async def test_as_much_as_a_worker_may_say(ends: Ends) -> None:
    for second in range(3):
        ends.now = float(second)
        ends.worker.sendall(WAIT * 499 + report_line(REPORT))
        while len(ends.heard.reports) <= second:
            ends.heard.signal.clear()
            await ends.heard.signal.wait()
    assert ends.heard.waited == 3 * 499
    assert not ends.heard.faults


async def test_a_worker_that_asks_and_does_not_read(ends: Ends) -> None:
    ends.channel.start(START)
    for second in range(10_000):
        if ends.heard.faults:
            break
        ends.now = float(second)
        ends.heard.waited = 0
        ends.worker.sendall(WAIT * 400)
        while ends.heard.waited < 400 and not ends.heard.faults:
            ends.heard.signal.clear()
            await ends.heard.signal.wait()
            for _ in range(400):
                ends.channel.waiting = True
                ends.channel.wake()
    assert ends.heard.faults == ["it asks again and again, and reads no answer"]


async def test_a_worker_that_is_gone_is_no_fault(ends: Ends) -> None:
    ends.worker.close()
    await asyncio.sleep(0)
    ends.channel.waiting = True
    ends.channel.wake()
    ends.channel.stop()
    assert not ends.heard.faults
