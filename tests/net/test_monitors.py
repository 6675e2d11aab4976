"""Who is shown what, who has to go, and what becomes of the process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from repltap.endings import DisconnectReason
from repltap.net import monitors as monitors_module
from repltap.net.admin.context import ClientState
from repltap.net.monitors import Monitors, Place
from tests.net.relay import open_feed
from tests.stored import SET, START, held, until

LINES = b"+1 [0 a:1] x\r\n"


class Output:
    """A connection that takes nothing."""

    def __init__(self) -> None:
        self.sent = b""
        self.takes = True
        self.unsent_bytes = 0

    def write(self, data: bytes) -> None:
        self.sent += data
        self.unsent_bytes += len(data)

    def flush(self) -> None:
        if self.takes:
            self.unsent_bytes = 0


class Client:
    """A client that asks to monitor."""

    def __init__(self, number: int) -> None:
        self.id = number
        self.state = ClientState(authenticated=True, monitoring=True)
        self.connection = Output()
        self.dropped: tuple[DisconnectReason, str] | None = None

    def drop(self, reason: DisconnectReason, detail: str) -> None:
        self.dropped = (reason, detail)


class Process:
    """A monitor process that does as it is told by the test."""

    def __init__(self, place: Place | None) -> None:
        self.place = place
        self.marks: list[tuple[int, Place]] = []
        self.addresses: list[str] = []
        self.killed = False
        self.end = asyncio.get_running_loop().create_future()
        self.channel = self

    def mark(self, mark: int, place: Place) -> None:
        self.marks.append((mark, place))

    def address(self, address: str) -> None:
        self.addresses.append(address)

    def close(self) -> None:
        raise AssertionError

    async def ended(self) -> str:
        try:
            return str(await self.end)
        except asyncio.CancelledError:
            self.killed = True
            raise


class World:
    """Monitors, and the processes that they have started."""

    def __init__(self, path: Path) -> None:
        self.feed = open_feed(path)
        self.processes: list[Process] = []
        self.refuses = 0
        self.address = "m:1"
        self.monitors = Monitors(self.feed, self._launch, lambda: self.address)

    async def process(self, number: int) -> Process:
        """Wait for the process of this number, from 0."""
        await until(f"process {number}", lambda: len(self.processes) > number)
        return self.processes[number]

    def client(self, number: int, *, live: bool = True) -> Client:
        """A client that has begun to monitor."""
        client = Client(number)
        self.monitors.begin(client)  # type: ignore[arg-type]
        if live:
            self.monitors.marked(self.monitors._next_mark - 1)
        return client

    async def _launch(self, monitors: Monitors, place: Place | None) -> Process:
        assert monitors is self.monitors
        if self.refuses:
            self.refuses -= 1
            raise OSError(11, "no more processes")
        self.processes.append(Process(place))
        return self.processes[-1]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitors_module, "_BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr(monitors_module, "_LOOK_SECONDS", 0.005)
    monkeypatch.setattr(monitors_module, "_IDLE_SECONDS", 0.02)


@contextlib.asynccontextmanager
async def world(path: Path, *, stored: bool = True) -> AsyncIterator[World]:
    """Run monitors over a store."""
    if stored:
        held(path, SET)
    made = World(path)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(made.monitors.run())
        try:
            yield made
        finally:
            running.cancel()
    await made.feed.close()


async def test_lines_go_to_those_whose_mark_is_passed(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        first = it.client(1, live=False)
        process = await it.process(0)
        end = (1, START + len(SET))
        assert process.place == end
        await until("the mark", lambda: process.marks == [(1, end)])
        second = it.client(2, live=False)  # at the same place: no mark of its own
        assert process.marks == [(1, end)]
        it.monitors.shown(LINES, 1, 200)
        assert first.connection.sent == b""
        it.monitors.marked(1)
        assert it.feed.history is not None
        it.feed.append(SET)
        third = it.client(3, live=False)
        assert process.marks[1:] == [(2, (1, START + 2 * len(SET)))]
        it.monitors.shown(LINES, 1, 300)
        assert first.connection.sent == second.connection.sent == LINES
        assert third.connection.sent == b""
        it.monitors.marked(2)
        first.state.close_after_reply = True  # nothing behind the answer to its QUIT
        it.monitors.shown(LINES, 1, 400)
        assert [len(c.connection.sent) // len(LINES) for c in (first, second, third)] == [1, 2, 1]
        assert it.monitors.count == 3
        for client in (first, second, third):
            it.monitors.end(client)  # type: ignore[arg-type]
        it.monitors.end(third)  # type: ignore[arg-type]
        assert it.monitors.count == 0
        assert not third.state.monitoring
        # One who comes before that goes on where the process was.
        await until("the process is let go", lambda: not it.monitors._running)
        assert process.killed
        it.client(4)
        assert (await it.process(1)).place == (1, START + 2 * len(SET))


async def test_where_nothing_is_stored(tmp_path: Path) -> None:
    async with world(tmp_path, stored=False) as it:
        it.client(1, live=False)
        process = await it.process(0)
        assert process.place is None
        await until("the mark", lambda: process.marks == [(1, (0, 0))])


async def test_who_leaves_before_its_mark_gets_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        client = it.client(1, live=False)
        it.monitors.end(client)  # type: ignore[arg-type]
        assert it.monitors.count == 0
        it.monitors.marked(1)
        it.monitors.shown(LINES, 1, 200)
        assert client.connection.sent == b""


async def test_the_address_is_told_when_it_changes(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        it.client(1)
        process = await it.process(0)
        await until("the address", lambda: process.addresses == ["m:1"])
        it.address = "other:2"
        await until("the other", lambda: process.addresses == ["m:1", "other:2"])
        it.address = "third:3"
        it.feed.changed()  # the history goes on under another name
        assert process.addresses[2:] == ["third:3"]


async def test_who_does_not_read_has_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitors_module, "CLIENT_BUFFER_BYTES", 100)
    async with world(tmp_path) as it:
        well, slow = it.client(1), it.client(2)
        slow.connection.takes = False
        for offset in range(20):
            it.monitors.shown(LINES, 1, offset)
        assert well.dropped is None
        assert slow.dropped == (
            DisconnectReason.OUTPUT_LIMIT,
            "too slow for MONITOR: it had 112 bytes waiting",
        )
        assert it.monitors.count == 1
        assert len(well.connection.sent) == 20 * len(LINES)


async def test_all_together_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitors_module, "TOTAL_BUFFER_BYTES", 10 * len(LINES))
    async with world(tmp_path) as it:
        clients = [it.client(number) for number in range(1, 5)]
        for client in clients:
            client.connection.takes = False
        clients[2].connection.unsent_bytes = 2 * len(LINES)
        it.monitors.shown(LINES, 1, 1)
        it.monitors.shown(LINES, 1, 2)
        assert [client.dropped is not None for client in clients] == [False] * 4
        it.monitors.shown(LINES, 1, 3)
        assert [client.dropped is not None for client in clients] == [False, False, True, False]
        assert clients[2].dropped is not None
        assert "with the other monitors it had" in clients[2].dropped[1]


async def test_all_together_stay_below_it_when_lines_are_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred that did not read, and values of 4 MB, took 589 MB: one had to go for each frame.

    Found by monitoring a relay so.
    """
    limit = 10 * len(LINES)
    monkeypatch.setattr(monitors_module, "TOTAL_BUFFER_BYTES", limit)
    async with world(tmp_path) as it:
        clients = [it.client(number) for number in range(8)]
        for client in clients[1:]:
            client.connection.takes = False
        for offset in range(1, 4):
            it.monitors.shown(4 * LINES, 1, offset)
            left = [client for client in clients if client.dropped is None]
            assert sum(client.connection.unsent_bytes for client in left) <= limit
        assert clients[0] in left
        assert clients[0].connection.sent == 12 * LINES
        assert it.monitors.count == len(left)


async def test_what_is_copied_in_a_turn_is_bounded(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        sizes = [it.monitors.turn_bytes]
        for number in range(1, 101):
            it.client(number)
            sizes.append(it.monitors.turn_bytes)
        assert sizes[0] == sizes[1] == 256 << 10
        assert sizes[10] == (256 << 10) // 10
        assert sizes[100] == 4 << 10


async def test_a_process_that_ends_is_followed_by_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(tmp_path) as it:
        live = it.client(1)
        process = await it.process(0)
        it.monitors.shown(LINES, 1, 250)
        waits = it.client(2, live=False)
        it.refuses = 2
        process.end.set_result("its process was ended by signal 11")
        following = await it.process(1)
        assert following.place == (1, 250)
        await until("its mark", lambda: [m for m, _ in following.marks] == [2])
        it.monitors.marked(2)
        it.monitors.shown(LINES, 1, 260)
        assert len(live.connection.sent) == 2 * len(LINES)
        assert waits.connection.sent == LINES
        assert "ended by signal 11" in caplog.text
        assert "it can't be started: Resource temporarily unavailable" in caplog.text
        assert live.dropped is None


async def test_one_that_fails_again_and_again_is_given_up(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        live, waits = it.client(1), it.client(2, live=False)
        for number in range(5):
            (await it.process(number)).end.set_result("its process ended with code 1")
        await until("they are told", lambda: waits.dropped and live.dropped)
        assert live.dropped == (
            DisconnectReason.MONITOR_FAILED,
            "MONITOR has failed 5 times in a row; the relay's log says why",
        )
        assert it.monitors.count == 0
        # Who comes then is a new beginning, each time: once the wait doubled without end.
        for client in (3, 4, 5):
            again = it.client(client, live=False)
            for _ in range(5):
                process = await it.process(len(it.processes))
                assert it.monitors._failures < 5
                process.end.set_result("its process ended with code 1")
            await until("it is told", lambda again=again: again.dropped)  # type: ignore[misc]
        await until("nobody waits any more", lambda: not it.monitors._running)


async def test_one_that_can_show_nothing_says_why(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        client = it.client(1)
        process = await it.process(0)
        it.monitors.failed("fell behind")
        process.end.set_result("")
        assert client.dropped == (DisconnectReason.MONITOR_FAILED, "MONITOR fell behind")
        await until("nobody waits any more", lambda: not it.monitors._running)
        assert len(it.processes) == 1


async def test_frames_never_take_all_together_past_their_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only one client went for each frame, while each frame was kept for all that stayed."""
    monkeypatch.setattr(monitors_module, "TOTAL_BUFFER_BYTES", 20 * len(LINES))
    async with world(tmp_path) as it:
        clients = [it.client(number) for number in range(1, 11)]
        for client in clients:
            client.connection.takes = False
        for offset in range(1, 6):
            it.monitors.shown(LINES, 1, offset)
            there = [client for client in clients if client.dropped is None]
            waiting = sum(client.connection.unsent_bytes for client in there)
            assert waiting <= monitors_module.TOTAL_BUFFER_BYTES
        assert len(there) == it.monitors.count == 4


async def test_who_comes_while_a_process_that_fell_behind_ends(tmp_path: Path) -> None:
    """It was sent to the place that the journal lacks, and disconnected as well."""
    async with world(tmp_path) as it:
        it.client(1)
        process = await it.process(0)
        it.monitors.shown(LINES, 1, START)
        it.monitors.failed("fell behind")
        late = it.client(2, live=False)
        process.end.set_result("")
        assert (await it.process(1)).place == (1, START + len(SET))
        assert late.dropped is None
