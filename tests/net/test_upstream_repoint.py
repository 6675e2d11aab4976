"""A link that is sent to another master, at whatever it was doing."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from repltap.config import SentinelConfig
from repltap.endings import FailureReason
from repltap.errors import RemoteProtocolError
from repltap.status.link import LinkState
from tests.net.links import asks_for, synced
from tests.net.peers import FakeMaster
from tests.net.relay import link
from tests.servers.ports import silent_port
from tests.stored import OTHER, SET, START, held, until


async def test_a_repoint_while_the_stream_runs(tmp_path: Path, master: FakeMaster) -> None:
    async with FakeMaster() as other, link(tmp_path, master.port) as it:
        peer = await synced(it, master, SET)
        assert not it.link.repoint("127.0.0.1", master.port)
        assert it.link.repoint("127.0.0.1", other.port)
        await peer.gone()
        peer, asked = await other.asked()
        assert asked == asks_for(START + len(SET))
        peer.say(b"+CONTINUE\r\n")
        await until("the link", lambda: it.link.state is LinkState.CONNECTED)
        status = it.link.status()
        assert (status.port, status.last_error) == (other.port, "")
        assert it.link.counters.ends == {FailureReason.REPOINTED: 1}
        assert it.link.peer == f"127.0.0.1:{other.port}"
        assert master.accepted == 1


async def test_a_repoint_forgets_what_the_other_master_did(
    tmp_path: Path, master: FakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by reading: a master that lied cost a full sync of the one that came after it."""
    held(tmp_path, SET)
    async with link(tmp_path, master.port, backoff_min_seconds=60, backoff_max_seconds=60) as it:
        peer, asked = await master.asked()
        peer.say(b"+CONTINUE\r\n" + SET)
        await it.holds(START + 2 * len(SET))

        def other_bytes(data: bytes) -> None:
            raise RemoteProtocolError("other bytes than before")

        with monkeypatch.context() as patched:
            patched.setattr(it.feed, "append", other_bytes)
            peer.say(SET)
            await peer.gone()
        await until("a wait", lambda: it.link.status().next_try_at)
        async with FakeMaster() as other:
            it.link.repoint("127.0.0.1", other.port)
            _, asked = await other.asked()
            assert asked == asks_for(START + 2 * len(SET))


async def test_a_repoint_ends_the_wait(tmp_path: Path, master: FakeMaster) -> None:
    """The old master is refused for a minute; the new one is asked at once."""
    slow = {"backoff_min_seconds": 60, "backoff_max_seconds": 60}
    with silent_port() as port:
        async with link(tmp_path, port, **slow) as it:
            await until("the wait", lambda: it.link.status().next_try_at is not None)
            it.link.repoint("127.0.0.1", master.port)
            await synced(it, master)


async def test_without_a_master_it_waits_for_one(tmp_path: Path, master: FakeMaster) -> None:
    sentinel = SentinelConfig(addresses=(("127.0.0.1", 1),), master_name="mymaster")
    async with link(tmp_path, 0, host="", sentinel=sentinel) as it:
        await asyncio.sleep(0)
        status = it.link.status()
        assert (status.host, status.source, status.state) == ("", "mymaster", LinkState.CONNECT)
        assert it.link.status().attempts == 0
        it.link.repoint("127.0.0.1", master.port, "a sentinel names it")
        await synced(it, master)
        assert it.link.status().source == "mymaster"


async def test_a_repoint_in_the_handshake(tmp_path: Path, master: FakeMaster) -> None:
    async with FakeMaster() as other, link(tmp_path, master.port, backoff_min_seconds=60) as it:
        peer = await master.link()
        await peer.command()
        it.link.repoint("127.0.0.1", other.port)
        await peer.gone()
        await synced(it, other)


async def test_a_repoint_while_a_snapshot_arrives(tmp_path: Path, master: FakeMaster) -> None:
    held(tmp_path, SET)
    async with (
        FakeMaster() as other,
        link(tmp_path, master.port, backoff_min_seconds=60) as it,
    ):
        peer, _ = await master.asked()
        peer.say(b"+FULLRESYNC %b 500\r\n$100\r\nREDIS0011" % OTHER.encode())
        await until("the intake", lambda: it.feed.intake is not None)
        it.link.repoint("127.0.0.1", other.port)
        _, asked = await other.asked()
        assert asked == asks_for(START + len(SET))
        assert it.feed.intake is None


async def test_a_repoint_while_it_connects(
    tmp_path: Path, master: FakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    connect = loop.sock_connect
    gate, reached = asyncio.Event(), asyncio.Event()

    async def slow(sock: socket.socket, address: tuple[str, int]) -> None:
        reached.set()
        await gate.wait()
        await connect(sock, address)

    monkeypatch.setattr(loop, "sock_connect", slow)
    async with FakeMaster() as other, link(tmp_path, master.port, backoff_min_seconds=60) as it:
        await reached.wait()
        it.link.repoint("127.0.0.1", other.port)
        gate.set()
        await synced(it, other)
        if master.accepted:  # it got that far: then it was told nothing
            assert await (await master.link()).command() in ([], [b"PING"])
