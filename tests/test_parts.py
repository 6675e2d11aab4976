"""The parts of a process, and how it is told to end."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from repltap.errors import ListenError
from repltap.parts import Parts
from tests.stored import until


async def test_a_part_that_fails_ends_the_process_and_is_told() -> None:
    parts = Parts()

    async def fails(detail: str) -> None:
        raise ListenError(detail)

    first = parts.start("first", fails("one"))
    await asyncio.wait([first])
    second = parts.start("second", fails("two"))
    await asyncio.wait([second])
    await parts.stop.wait()
    assert str(parts.failure) == "one"
    assert not parts.hurry.is_set()


async def test_a_part_that_is_ended_is_no_failure() -> None:
    parts = Parts()
    ended = []

    async def works() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("tidied up")

    task = parts.start("works", works())
    assert task.get_name() == "works"
    await asyncio.sleep(0)
    await parts.end(task)
    assert ended == ["tidied up"]
    assert parts.failure is None
    assert not parts.stop.is_set()


async def test_signals_ask_to_end_and_then_to_hurry(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    parts, hung_up = Parts(), asyncio.Event()
    parts.catch_signals(hung_up.set)
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        await hung_up.wait()
        assert not parts.stop.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        await parts.stop.wait()
        assert not parts.hurry.is_set()
        assert "SIGTERM received: shutting down" in caplog.messages
        os.kill(os.getpid(), signal.SIGINT)
        await parts.hurry.wait()
    finally:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)


async def test_hurry_ends_a_wait_and_lets_none_begin() -> None:
    parts, began, waits = Parts(), [], asyncio.Event()

    async def work(name: str) -> None:
        began.append(name)
        await waits.wait()

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(parts.unless_hurried(work("first")))
        await until("begun", lambda: began == ["first"])
        assert not waiting.done()
        parts.hurry.set()
    await parts.unless_hurried(work("second"))
    assert began == ["first"]
