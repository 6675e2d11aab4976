"""Threads that nobody has to wait for."""

from __future__ import annotations

import asyncio
import threading

import pytest

from repltap.threads import in_thread, outcome


async def test_what_comes_of_it_is_for_all_who_wait() -> None:
    gate = threading.Event()

    def work() -> threading.Thread:
        assert gate.wait(60)
        return threading.current_thread()

    done = in_thread("read", work)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await outcome(done)
    assert not done.cancel()
    both = asyncio.gather(outcome(done), outcome(done))
    gate.set()
    one, other = await both
    assert one is other
    assert (one.name, one.daemon) == ("read", True)
    assert await outcome(done) is one


async def test_what_it_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        await outcome(in_thread("fails", lambda: 1 // 0))


def test_a_loop_that_has_been_closed_meanwhile() -> None:
    gate = threading.Event()
    done = in_thread("late", lambda: gate.wait(60))

    async def give_up() -> None:
        async with asyncio.timeout(0):
            await outcome(done)

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    gate.set()
    assert done.result(60)
