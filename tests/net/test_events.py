"""Server-sent events through aiohttp's own client, on a relay that is made of plain data."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from repltap.net.changes import Event, EventKind, EventLevel
from repltap.net.events import MAX_CLIENTS, REMEMBERED, EventFeed
from repltap.net.web import create_app, start_web
from repltap.status.relay import RelayStatus
from tests.net.admin.fakes import relay_status
from tests.stored import HANG_SECONDS


def event(number: int, text: str = "") -> Event:
    return Event(
        at=float(number),
        kind=EventKind.SINK,
        level=EventLevel.INFO,
        subject="audit",
        text=text or str(number),
        detail={"state": "streaming"},
    )


class Site:
    """A feed on a port."""

    def __init__(self, feed: EventFeed, port: int, session: aiohttp.ClientSession) -> None:
        self.feed = feed
        self.port = port
        self.session = session
        self.answers: list[aiohttp.ClientResponse] = []

    async def listen(self, seen: str = "") -> aiohttp.ClientResponse:
        headers = {"Last-Event-ID": seen} if seen else {}
        url = f"http://127.0.0.1:{self.port}/"
        self.answers.append(await self.session.get(url, headers=headers))
        return self.answers[-1]


@asynccontextmanager
async def site(slow_seconds: float = 10.0) -> AsyncIterator[Site]:
    feed = EventFeed(relay_status, slow_seconds)
    app = web.Application()

    async def begin(_app: web.Application) -> None:
        feed.open()

    async def end(_app: web.Application) -> None:
        await feed.close()

    app.on_startup.append(begin)
    app.on_shutdown.append(end)
    app.router.add_get("/", feed.stream)
    server = await start_web(app, "127.0.0.1", 0)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        here = Site(feed, server.port, session)
        try:
            yield here
        finally:
            for answer in here.answers:
                answer.close()
            await server.close()


async def read(answer: aiohttp.ClientResponse, count: int) -> list[dict[str, Any]]:
    """Read that many events."""
    found: list[dict[str, Any]] = []
    while len(found) < count:
        line = await answer.content.readline()
        assert line, "the stream has ended"
        if line.startswith(b"data: "):
            found.append(json.loads(line[6:]))
    return found


async def until(feed: EventFeed, clients: int) -> None:
    async with asyncio.timeout(HANG_SECONDS):
        while feed.clients != clients:
            await asyncio.sleep(0.01)


async def test_the_start_is_told_and_what_comes_later() -> None:
    async with site() as here:
        answer = await here.listen()
        assert answer.content_type == "text/event-stream"
        assert answer.headers["Cache-Control"] == "no-store"
        (start,) = await read(answer, 1)
        assert (start["id"], start["kind"]) == ("abababab-1", "start")
        here.feed.add([event(5)])
        (later,) = await read(answer, 1)
        assert later == {
            "id": "abababab-2",
            "at": 5.0,
            "kind": "sink",
            "level": "info",
            "subject": "audit",
            "text": "5",
            "detail": {"state": "streaming"},
        }


async def test_who_comes_back_is_told_what_he_missed() -> None:
    async with site() as here:
        (first,) = await read(await here.listen(), 1)
        here.feed.add([event(2), event(3)])
        assert [e["text"] for e in await read(await here.listen(first["id"]), 2)] == ["2", "3"]


@pytest.mark.parametrize(
    "seen",
    ["cdcdcdcd-2", "abababab-", "abababab-x", "2", "abababab-\u00b2", "abababab-" + "9" * 40],
)
async def test_an_id_of_another_run_or_nonsense_gets_all(seen: str) -> None:
    async with site() as here:
        await read(await here.listen(), 1)
        here.feed.add([event(2)])
        assert [e["kind"] for e in await read(await here.listen(seen), 2)] == ["start", "sink"]


async def test_the_history_is_bounded() -> None:
    async with site() as here:
        await read(await here.listen(), 1)
        here.feed.add(event(number) for number in range(2 * REMEMBERED))
        found = await read(await here.listen(), REMEMBERED)
        assert found[0]["text"] == str(REMEMBERED)
        assert found[-1]["text"] == str(2 * REMEMBERED - 1)


async def test_clients_are_bounded_and_who_leaves_makes_room() -> None:
    async with site() as here:
        answers = [await here.listen() for _ in range(MAX_CLIENTS)]
        refused = await here.listen()
        assert refused.status == 503
        assert refused.headers["Retry-After"] == "10"
        assert "16 clients" in (await refused.json())["error"]
        answers[3].close()
        await until(here.feed, MAX_CLIENTS - 1)
        assert (await here.listen()).status == 200


async def test_who_takes_nothing_is_dropped() -> None:
    async with site(slow_seconds=0.2) as here:
        answer = await here.listen()
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect(("127.0.0.1", here.port))
            slow.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await until(here.feed, 2)
            await read(answer, 1)
            # One that reads, beside it: what it has not read yet always fits into its socket.
            async with asyncio.timeout(HANG_SECONDS):
                while here.feed.clients == 2:
                    here.feed.add(event(number, "x" * 10_000) for number in range(3))
                    await read(answer, 3)
        here.feed.add([event(7, "last")])
        assert (await read(answer, 1))[0]["text"] == "last"


async def test_a_stop_does_not_wait_for_those_who_listen() -> None:
    async with site() as here:
        answers = [await here.listen() for _ in range(3)]
        for answer in answers:
            await read(answer, 1)
        await here.feed.close()
        for answer in answers:
            assert b"data" not in await answer.content.read()  # it ends
        assert (await here.listen()).status == 503


async def test_what_happens_is_noticed() -> None:
    shown = [relay_status()]
    server = await start_web(create_app(lambda: shown[0], CollectorRegistry()), "127.0.0.1", 0)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{server.port}/api/events") as answer,
    ):
        await read(answer, 1)
        shown[0] = replace(shown[0], disk_full=True)
        (told,) = await read(answer, 1)
        assert told["kind"] == "disk"
        await server.close()
        await answer.content.read()


async def test_a_fault_of_the_page_is_none_of_the_relay(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> RelayStatus:
        raise ZeroDivisionError

    feed = EventFeed(broken)
    feed.open()
    async with asyncio.timeout(HANG_SECONDS):
        while "no more events" not in caplog.text:
            await asyncio.sleep(0.01)
    await feed.close()
