"""The monitor process as a relay has it: real processes over a store."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from repltap.delivery.monitor import process as monitor_process
from repltap.delivery.monitor.messages import Frame, Kind, mark_frame
from repltap.delivery.monitor.process import MonitorChannel, MonitorProcess
from tests.delivery.stored import Stored, sets
from tests.stored import until


class Heard:
    """What a process has said."""

    def __init__(self) -> None:
        self.turn_bytes = 1000
        self.lines = b""
        self.place = (0, 0)
        self.marks: list[int] = []
        self.reason = ""

    def shown(self, lines: bytes, number: int, offset: int) -> None:
        assert lines.endswith(b"\r\n")
        self.lines += lines
        self.place = (number, offset)

    def marked(self, mark: int) -> None:
        self.marks.append(mark)

    def failed(self, reason: str) -> None:
        self.reason = reason


@contextlib.asynccontextmanager
async def running(
    heard: Heard, path: Path, place: tuple[int, int] | None
) -> AsyncIterator[MonitorProcess]:
    """Start a process, and see to its end."""
    process = await MonitorProcess.start(heard, path, place, "info")
    async with asyncio.TaskGroup() as group:
        ended = group.create_task(process.ended())
        try:
            yield process
        finally:
            ended.cancel()


async def test_it_shows_what_follows_a_place(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(0))
    heard = Heard()
    async with running(heard, tmp_path, (1, stored.end)) as process:
        process.channel.address("10.1.1.1:6379")
        process.channel.mark(5, (1, stored.end))
        await until("the mark", lambda: heard.marks == [5])
        assert heard.lines == b""
        stored.append(sets(1))
        await until("a line", lambda: heard.lines)
        assert b'[0 10.1.1.1:6379] "SET" "k:1"' in heard.lines
        assert heard.place == (1, stored.end)
        # It goes after the relay, and everything else.
        assert os.getpriority(os.PRIO_PROCESS, process.pid) >= 10
        command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert str(tmp_path).encode() not in command
    stored.close()


async def test_it_ends_with_the_line(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(0))
    heard = Heard()
    process = await MonitorProcess.start(heard, tmp_path, (1, stored.end), "info")
    process.channel.mark(1, (0, 0))
    await until("it runs", lambda: heard.marks)
    process.channel.close()
    assert await process.ended() == ""
    process.channel.mark(2, (0, 0))  # nobody hears that, and it is no error
    stored.close()


async def test_it_says_why_it_can_show_nothing(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(0))
    stored.begin(sets(1), offset=5000)
    heard = Heard()
    async with running(heard, tmp_path, (2, 4000)):
        await until("the reason", lambda: heard.reason)
    assert heard.reason.startswith("fell behind: the journal does not hold")
    stored.close()


async def test_what_is_wrong_with_the_store_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stored = Stored(tmp_path).begin(sets(0))
    place = (1, stored.end)
    stored.append(b"no command\r\n")
    process = await MonitorProcess.start(Heard(), tmp_path, place, "info")
    assert await process.ended() == "its process ended with code 1"
    assert "there is no command at offset" in caplog.text
    stored.close()


async def test_one_that_is_killed_is_told(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(0))
    process = await MonitorProcess.start(Heard(), tmp_path, None, "info")
    os.kill(process.pid, signal.SIGKILL)
    assert await process.ended() == "its process was ended by signal 9"
    stored.close()


class Line(asyncio.Transport):
    """A transport to nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0
        self.aborted = False

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.waiting += len(data)

    def get_write_buffer_size(self) -> int:
        return self.waiting


def channel(heard: Heard) -> tuple[MonitorChannel, Line]:
    made, line = MonitorChannel(heard), Line()
    made.connection_made(line)
    return made, line


def feed(made: MonitorChannel, data: bytes) -> None:
    while data:
        room = made.get_buffer(-1)
        size = min(len(room), len(data))
        room[:size] = data[:size]
        made.buffer_updated(size)
        data = data[size:]


def test_no_more_is_read_in_a_turn_than_wanted() -> None:
    heard = Heard()
    made, _ = channel(heard)
    assert len(made.get_buffer(-1)) == 1000
    heard.turn_bytes = 1 << 30
    assert len(made.get_buffer(-1)) == monitor_process._BUFFER_BYTES
    heard.turn_bytes = 3
    feed(made, Frame(Kind.LINES, 4, 5, b"+x\r\n").pack() + mark_frame(9).pack())
    assert (heard.lines, heard.place, heard.marks) == (b"+x\r\n", (4, 5), [9])


def test_one_that_talks_nonsense_is_ended(caplog: pytest.LogCaptureFixture) -> None:
    made, line = channel(Heard())
    feed(made, b"\xff" * 20)
    assert line.aborted
    assert "the monitor process said a frame of kind 255" in caplog.text


def test_one_that_does_not_listen_is_ended(caplog: pytest.LogCaptureFixture) -> None:
    made, line = channel(Heard())
    for mark in range(100_000):
        made.mark(mark, (1, 1))
    assert line.aborted
    assert line.waiting < 2 << 20
    assert "does not take what it is told" in caplog.text
