"""A worker process: what it is given, what it prints, how it ends."""

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

import pytest

from repltap.delivery import worker_process
from repltap.delivery.worker_process import WorkerProcess
from tests.delivery.actor import MODULE
from tests.delivery.workers import Heard, start_of
from tests.stored import HANG_SECONDS, until


@pytest.fixture(autouse=True)
def actor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "MODULE", MODULE)


async def test_it_says_how_it_is_and_ends_as_asked() -> None:
    heard = Heard()
    process = await WorkerProcess.start(start_of("well"), heard)
    await heard.until("reports")
    command = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
    assert b"a-b" in command
    assert not any(b"hunter2" in word for word in command)
    assert heard.reports[0].records == 10
    process.channel.stop()
    assert await process.ended() == ""
    process.kill()  # it is gone, and that is no error
    process.terminate()


@pytest.mark.parametrize(
    ("play", "said"),
    [("crash", "its process ended with code 7"), ("signal", "its process was ended by signal 9")],
)
async def test_how_it_ends_is_told(play: str, said: str) -> None:
    process = await WorkerProcess.start(start_of(play), Heard())
    assert await process.ended() == said


async def test_a_process_that_is_deaf_is_ended() -> None:
    heard = Heard()
    process = await WorkerProcess.start(start_of("deaf"), heard)
    await heard.until("reports")
    process.channel.stop()
    process.terminate()
    assert await process.ended() == "its process was ended by signal 15"


async def test_what_it_has_started_ends_with_it(caplog: pytest.LogCaptureFixture) -> None:
    process = await WorkerProcess.start(start_of("spawn"), Heard())
    assert await process.ended() == ""
    (line,) = [r.getMessage() for r in caplog.records if r.getMessage().startswith("left ")]
    await until("the end of what it has started", lambda: _is_gone(int(line.split()[1])))


async def test_what_has_left_its_session_is_not_waited_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Found by a sink that starts a daemon: the relay could not be stopped any more."""
    process = await WorkerProcess.start(start_of("leave"), Heard())
    assert await asyncio.wait_for(process.ended(), HANG_SECONDS) == ""
    (line,) = [r.getMessage() for r in caplog.records if r.getMessage().startswith("left ")]
    left = int(line.split()[1])
    assert not _is_gone(left)
    os.kill(left, signal.SIGKILL)


def _is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the latter within the reading
        return True
    return state == "Z"


async def test_its_descriptors_are_its_own() -> None:
    before = set(os.listdir("/proc/self/fd"))
    process = await WorkerProcess.start(start_of("crash"), Heard())
    await process.ended()
    assert len(os.listdir("/proc/self/fd")) <= len(before) + 1  # asyncio's for child processes


async def test_what_it_prints_is_logged_with_its_name(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "repltap.sink.a-b")
    process = await WorkerProcess.start(start_of("print"), Heard())
    await process.ended()
    lines = [(r.levelno, r.getMessage()) for r in caplog.records if r.name == "repltap.sink.a-b"]
    assert lines[0] == (logging.WARNING, "plain text")
    assert lines[1] == (logging.INFO, "told")
    histories = {r.getMessage(): getattr(r, "replid", None) for r in caplog.records}
    assert (histories["told"], histories["m"]) == ("abc", "")
    assert lines[3] == (logging.WARNING, '{"time":"x","level":"info"}')
    assert max(len(line) for _, line in lines) == 16 << 10
    # Of a flood so much, and how much more there was.
    assert len(lines) < 120
    dropped = sum(int(line.split()[0]) for _, line in lines if "more lines were printed" in line)
    assert dropped + sum(line == "line" for _, line in lines) == 1000
    assert "no end" in [line for _, line in lines]


async def test_of_the_environment_it_gets_its_own(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    for name in ("UPSTREAM_PASSWORD", "SINK", "SINK_A_B_PASSWORD", "SINK_A_B_C_PASSWORD"):
        monkeypatch.setenv(f"REPLTAP_{name}", "x")
    process = await WorkerProcess.start(start_of("environment"), Heard())
    await process.ended()
    (line,) = [r.getMessage() for r in caplog.records if "REPLTAP" in r.getMessage()]
    assert [word for word in line.split() if word.startswith("REPLTAP")] == [
        "REPLTAP_SINK_A_B_PASSWORD"
    ]


async def test_a_program_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(OSError):
        await WorkerProcess.start(start_of("well"), Heard())
