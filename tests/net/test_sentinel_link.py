"""The connection to one sentinel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from repltap.config import SentinelConfig
from repltap.net import sentinel_link as module
from repltap.net.sentinel_link import SentinelLink
from repltap.protocol.sentinel import MasterTold
from repltap.status.sentinel import SentinelState
from repltap.tls import ClientTls
from tests.sentinels import FakeSentinel, answers, push
from tests.stored import HANG_SECONDS, until
from tests.tls_files import authority, client

MASTER = ("10.0.0.1", 6379)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BACKOFF_SECONDS", (0.001,))
    monkeypatch.setattr(module, "_CALM_SECONDS", 600.0)
    monkeypatch.setattr(module, "_CONNECT_SECONDS", HANG_SECONDS)
    monkeypatch.setattr(module, "_ANSWER_SECONDS", HANG_SECONDS)


@asynccontextmanager
async def watching(
    address: tuple[str, int], *, urgent: bool = False, tls: ClientTls | None = None
) -> AsyncIterator[tuple[SentinelLink, list[MasterTold | None]]]:
    told: list[MasterTold | None] = []
    link = SentinelLink(
        address,
        SentinelConfig(addresses=(address,), master_name="mymaster", tls=tls),
        configured=True,
        on_told=lambda _, answer: told.append(answer),
        urgent=lambda: urgent,
    )
    task = asyncio.get_running_loop().create_task(link.run(), name="the link")
    try:
        yield link, told
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def test_it_is_asked_and_shown() -> None:
    async with FakeSentinel(answers(MASTER, 7)) as fake, watching(fake.address) as (link, told):
        assert link.seen().state is SentinelState.CONNECTING
        await until("an answer", lambda: told)
        assert told[0] is not None
        assert told[0].master == MASTER
        seen = link.seen()
        assert (seen.state, seen.master, seen.epoch) == (
            SentinelState.ANSWERING,
            "10.0.0.1:6379",
            7,
        )
        assert seen.listening
        assert seen.told_at is not None
        assert link.tried


async def test_news_and_nudges_lead_to_a_question() -> None:
    async with FakeSentinel(answers(MASTER, 7)) as fake, watching(fake.address) as (link, told):
        await until("an answer", lambda: told)
        fake.answer = answers(("fd00::2", 6379), 8)
        fake.say(push("+switch-master", "mymaster 10.0.0.1 6379 fd00::2 6379"))
        await until("another", lambda: len(told) == 2)
        assert link.seen().master == "[fd00::2]:6379"
        link.nudge()
        await until("one more", lambda: len(told) == 3)
        assert (fake.connections, fake.asked) == (1, 3)


async def test_without_a_stream_it_is_asked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_URGENT_SECONDS", 0.001)
    async with FakeSentinel(answers(MASTER, 7)) as fake, watching(fake.address, urgent=True):
        await until("questions", lambda: fake.asked > 5)
        assert fake.connections == 1


async def test_it_comes_back() -> None:
    async with FakeSentinel(answers(MASTER, 7)) as fake, watching(fake.address) as (link, told):
        await until("an answer", lambda: told)
        fake.hang_up()
        await until("another", lambda: len(told) == 3)
        assert told[1] is None
        assert (fake.connections, link.answering) == (2, True)


async def test_another_password_is_used_at_the_next_connection() -> None:
    async with FakeSentinel(answers(MASTER, 7)) as fake, watching(fake.address) as (link, told):
        await until("an answer", lambda: told)
        config = SentinelConfig(
            addresses=(fake.address,), master_name="mymaster", username="tap", password="hunter2"
        )
        link.take_credentials(config)
        await until("a question", lambda: len(told) == 2)
        assert fake.connections == 1
        assert b"AUTH" not in fake.heard
        fake.greeting = b"+OK\r\n" + fake.greeting
        fake.hang_up()
        await until("a login", lambda: b"$3\r\ntap\r\n$7\r\nhunter2\r\n" in fake.heard)
        await until("an answer", lambda: link.answering)


def running() -> asyncio.Task[object]:
    """The task of the link that `watching` has started."""
    (task,) = (each for each in asyncio.all_tasks() if each.get_name() == "the link")
    return task


async def test_a_stop_as_it_falls_silent_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """By reading: a relay stopped just then did not end; a failed TaskGroup swallows a cancel."""

    real = module.wait_at_most

    async def stopped_meanwhile(_event: asyncio.Event, _seconds: float) -> bool:
        monkeypatch.setattr(module, "wait_at_most", real)
        running().cancel()
        return False  # no answer came

    monkeypatch.setattr(module, "wait_at_most", stopped_meanwhile)
    async with FakeSentinel(None) as fake, watching(fake.address) as (_, told):
        task = running()
        await asyncio.wait([task], timeout=HANG_SECONDS)
        assert task.cancelled()
        assert told == [None]


@pytest.mark.parametrize("greets", [True, False])
async def test_tls_with_one_that_has_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, greets: bool
) -> None:
    if not greets:
        monkeypatch.setattr(module, "_CONNECT_SECONDS", 0.1)
    tls = client(authority(tmp_path).ca_file)
    async with FakeSentinel(None) as fake:
        fake.greeting = fake.greeting if greets else b""
        async with watching(fake.address, tls=tls) as (link, told):
            await until("failures", lambda: told[:2] == [None, None])
            said = "the sentinel does not speak TLS there" if greets else "is this its tls-port?"
            assert said in link.seen().error


@pytest.mark.parametrize("fault", ["nobody", "name", "silent", "torn", "no sentinel"])
async def test_one_that_does_not_answer(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault in ("silent", "torn"):
        monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.05)
    async with FakeSentinel(None if fault == "silent" else answers(MASTER, 7)[:50]) as fake:
        address = fake.address
        if fault == "nobody":
            address = ("127.0.0.1", 1)
        elif fault == "name":
            address = ("x" * 70, 1)
        elif fault == "no sentinel":
            fake.greeting = b"+OK\r\nhello\r\n"
        said = {
            "nobody": "can't connect",
            "name": "not a host name",
            "silent": "no answer within",
            "torn": "no answer within",
            "no sentinel": "not RESP",
        }[fault]
        async with watching(address) as (link, told):
            await until("failures", lambda: told[:3] == [None, None, None])
            seen = link.seen()
            assert (seen.state, seen.master, seen.listening) == (SentinelState.AWAY, "", False)
            assert said in seen.error
