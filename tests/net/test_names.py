"""Connecting by name: which address, which error, and whose threads."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from repltap.net import names
from repltap.net.names import MAX_LOOKUPS, look_up, open_socket
from tests.servers.ports import silent_port
from tests.stored import until

real = socket.getaddrinfo


class NameServer:
    """Knows `db`, and what it is told to; says nothing while it is away."""

    def __init__(self) -> None:
        self.known: dict[str, list[tuple[str, int]]] = {}
        self.there = threading.Event()
        self.there.set()
        self.asked: list[str] = []

    def getaddrinfo(self, host: str, port: int, *args: Any, **options: Any) -> Any:
        if options.get("flags"):
            return real(host, port, *args, **options)
        self.asked.append(host)
        assert self.there.wait(60)
        if host not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in self.known[host]
        ]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    made = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    yield made
    made.there.set()


async def test_an_address_needs_no_name_server(server: NameServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        where = listening.getsockname()
        sock = await open_socket(*where)
        assert not sock.getblocking()
        assert sock.getpeername() == where
        sock.close()
    with silent_port() as port, pytest.raises(ConnectionRefusedError):
        await open_socket("127.0.0.1", port)
    assert server.asked == []


async def test_the_first_address_that_can_be_reached(server: NameServer) -> None:
    with silent_port() as silent, socket.create_server(("127.0.0.1", 0)) as listening:
        server.known["db"] = [("127.0.0.1", silent), listening.getsockname()]
        with await open_socket("db", 1) as sock:
            assert sock.getpeername() == listening.getsockname()
    with pytest.raises(socket.gaierror, match="not known"):
        await open_socket("nobody", 1)


async def test_a_name_server_that_is_away_holds_a_thread_for_each_name(server: NameServer) -> None:
    """It held those that sync the journal: `asyncio.to_thread` waited for it."""
    server.there.clear()
    for _ in range(20):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await look_up("db", 1)
    await until("the thread", lambda: server.asked)
    assert server.asked == ["db"]
    assert await asyncio.to_thread(threading.current_thread) is not threading.current_thread()
    server.known["db"] = [("10.0.0.1", 1)]
    server.there.set()
    assert [found[4] for found in await look_up("db", 1)] == [("10.0.0.1", 1)]
    await until("nothing under way", lambda: not names._under_way)


async def test_there_is_a_limit(server: NameServer) -> None:
    server.there.clear()
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(look_up(f"db{n}", 1)) for n in range(MAX_LOOKUPS)]
        await until("all", lambda: len(server.asked) == MAX_LOOKUPS)
        with pytest.raises(OSError, match="too many names"):
            await look_up("one-more", 1)
        for task in waiting:
            task.cancel()
    server.there.set()
    await until("nothing under way", lambda: not names._under_way)
