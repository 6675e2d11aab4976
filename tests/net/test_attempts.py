"""The attempts in a row: how long is waited, and what ends the wait."""

from __future__ import annotations

import asyncio

import pytest

from repltap.config import UpstreamConfig
from repltap.net import attempts as attempts_module
from repltap.net.attempts import Attempts
from tests.stored import HANG_SECONDS

CONFIG = UpstreamConfig(host="h", port=1)


async def test_backoff_grows_to_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    timeout = asyncio.timeout

    def note(seconds: float | None) -> asyncio.Timeout:
        assert seconds is not None
        waits.append(seconds)
        return timeout(0)

    attempts = Attempts()
    monkeypatch.setattr(attempts_module.asyncio, "timeout", note)
    monkeypatch.setattr(attempts_module.random, "uniform", lambda low, high: high)
    for count in range(1, 9):
        attempts.begin()
        assert attempts.count == count
        await attempts.back_off(CONFIG)
    monkeypatch.undo()
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    attempts.forget()
    assert attempts.count == 0


async def test_a_wait_is_shown_and_can_be_ended() -> None:
    attempts = Attempts()
    async with asyncio.timeout(HANG_SECONDS):
        waiting = asyncio.get_running_loop().create_task(attempts.wait(1000))
        while attempts.next_try_at is None:
            await asyncio.sleep(0)
        attempts.hurry()
        assert attempts.wanted_now
        await waiting
        assert attempts.next_try_at is None
        await attempts.wait(1000)  # until an attempt has begun
        attempts.begin()
        assert not attempts.wanted_now


async def test_a_call_is_waited_for() -> None:
    attempts = Attempts()
    attempts.hurry()  # an old one is none
    async with asyncio.timeout(HANG_SECONDS):
        waiting = asyncio.get_running_loop().create_task(attempts.called())
        await asyncio.sleep(0)
        assert not waiting.done()
        attempts.hurry()
        await waiting
