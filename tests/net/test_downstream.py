"""The port: who is let in, who is listed, who is shown the door."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from repltap.access import Users
from repltap.config import ListenConfig
from repltap.errors import ListenError
from repltap.feed import Feed
from repltap.net import downstream as downstream_module
from repltap.net.downstream import Downstream
from tests.net.peers import ack
from tests.net.relay import Whole, open_feed, port
from tests.protocol.ways import rdb
from tests.servers.ports import has_ipv6
from tests.stored import REPLID, SET, START, held, open_fds, until

END = START + len(SET)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return held(tmp_path, SET)


async def test_a_port_in_use(tmp_path: Path) -> None:
    feed = open_feed(tmp_path)
    before = open_fds()
    with socket.create_server(("127.0.0.1", 0)) as busy:
        number = busy.getsockname()[1]
        server = Downstream(ListenConfig(port=number), feed, Whole())
        with pytest.raises(ListenError) as caught:
            await server.listeners.bind()
    assert str(caught.value) == (
        f"can't listen on 127.0.0.1:{number}: Address already in use "
        "(another process has this port: stop it, or choose another with --listen)"
    )
    assert open_fds() == before
    await feed.close()


async def test_an_address_that_is_not_ours(tmp_path: Path) -> None:
    feed = open_feed(tmp_path)
    server = Downstream(ListenConfig(host="192.0.2.1", port=0), feed, Whole())
    with pytest.raises(ListenError, match=r"192\.0\.2\.1:0: Cannot .* no such address"):
        await server.listeners.bind()
    await feed.close()


async def test_both_families_of_an_address(tmp_path: Path) -> None:
    if not has_ipv6():
        pytest.skip("no IPv6 loopback here")
    async with port(tmp_path, ListenConfig(host="::1", port=0)) as it:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET6) as client:
            client.setblocking(False)
            await loop.sock_connect(client, ("::1", it.downstream.listeners.port))
            session = (await until("a session", lambda: it.sessions))[0]
            assert session.local_address == f"[::1]:{it.downstream.listeners.port}"


async def test_those_who_come_before_it_runs_are_served(path: Path) -> None:
    """Listening begins before anything else is ready: nobody is refused, or answered too soon."""
    feed = open_feed(path)
    server = Downstream(ListenConfig(port=0), feed, Whole())
    await server.listeners.bind()
    with socket.create_connection(("127.0.0.1", server.listeners.port)) as client:
        client.sendall(b"PING\r\n")
        await asyncio.sleep(0)
        assert server.listeners.connections == 0
        task = asyncio.get_running_loop().create_task(server.run(_no_service()))
        await until("a session", lambda: server.commands)
        assert client.recv(100) == b"+PONG\r\n"
        task.cancel()
        await asyncio.wait([task])
        server.close_all("the test is over")
    await feed.close()


def _no_service():  # type: ignore[no-untyped-def]
    return None


async def test_one_too_many(path: Path) -> None:
    async with port(path, ListenConfig(port=0, max_clients=2)) as it:
        first, second = await it.replica(), await it.replica()
        await second.send(b"PING\r\n")
        assert await second.line() == b"+PONG"
        with await it.replica() as third:
            assert await third.rest() == b"-ERR max number of clients reached\r\n"
        assert (it.downstream.listeners.connections, it.downstream.admission.rejected) == (3, 1)
        first.sock.close()
        await until("a free place", lambda: len(it.sessions) == 1)
        with await it.replica() as fourth:
            await fourth.send(b"PING\r\n")
            assert await fourth.line() == b"+PONG"
        second.sock.close()


async def test_nobody_is_accepted_any_more(path: Path) -> None:
    async with port(path) as it:
        number = it.downstream.listeners.port
        with await it.replica() as client:
            # Who only waits in the kernel's queue is reset.
            await until("a session", lambda: it.sessions)
            it.downstream.listeners.stop()
            await client.send(b"PING\r\n")
            assert await client.line() == b"+PONG"
            with pytest.raises(ConnectionRefusedError), socket.socket() as late:
                late.connect(("127.0.0.1", number))


async def test_killing(path: Path) -> None:
    async with port(path) as it:
        with await it.replica() as one, await it.replica() as two:
            await until("sessions", lambda: len(it.sessions) == 2)
            shown = it.downstream.clients()
            assert [client.id for client in shown] == [1, 2]
            assert it.downstream.kill(1)
            assert not it.downstream.kill(99)
            assert await one.rest() == b""
            await two.send(b"CLIENT KILL ID 2 SKIPME no\r\n")
            assert await two.rest() == b":1\r\n"  # it still hears that it was
        assert it.sessions == []


async def test_passwords(tmp_path: Path) -> None:
    feed = open_feed(tmp_path)
    open_port = Downstream(ListenConfig(port=0), feed, Whole())
    closed = Downstream(ListenConfig(port=0, users=Users.of_default("pässword")), feed, Whole())
    assert not open_port.password_required
    assert not open_port.check_password(b"default", b"")
    assert closed.password_required
    assert closed.check_password(b"default", "pässword".encode())
    assert not closed.check_password(b"default", b"")
    assert not closed.check_password(b"admin", "pässword".encode())
    await feed.close()


@pytest.mark.usefixtures("no_ticks")
async def test_traffic_is_counted_also_of_those_who_left(path: Path) -> None:
    async with port(path) as it:
        with await it.replica() as replica:
            await replica.ask()
            # A newline first: it waits while the snapshot from before the start is checked. Each
            # second that takes would be another.
            head = b"\n+FULLRESYNC %b %d\r\n$%d\r\n" % (REPLID.encode(), START, len(rdb()))
            await replica.snapshot()
            await replica.exactly(len(SET))
            await replica.send(ack(END))
            asked = len(b"PSYNC ? -1\r\n" + ack(END))
            expected = (asked, len(head), len(rdb()) + len(SET))
            await until("the ACK", lambda: it.downstream.traffic() == expected)
        await until("the end", lambda: not it.sessions)
        assert it.downstream.traffic() == expected
        assert it.downstream.replicas(0.0, it.history.journal.end) == []


async def test_replicas_are_listed_and_clients_are_not(path: Path) -> None:
    async with port(path) as it:
        with await it.replica() as client, await it.replica() as replica:
            await client.send(b"PING\r\n")
            await client.line()
            await replica.ask(REPLID, END, b"listening-port 7001")
            await replica.line()
            shown = it.downstream.replicas(0.0, it.history.journal.end)
            assert [(each.connection_id, each.port) for each in shown] == [(2, 7001)]


async def test_what_the_whole_is_asked(path: Path) -> None:
    async with port(path) as it:
        with await it.replica() as client:
            await client.send(b"REPLICAOF other.example 7000\r\nSHUTDOWN NOSAVE NOW\r\n")
            assert await client.line() == b"+OK"
            await until("the shutdown", lambda: it.whole.shutdowns)
            assert it.whole.repointed == [("other.example", 7000)]
            assert it.whole.shutdowns == [True]


async def test_draining_waits_for_those_who_read(path: Path) -> None:
    async with port(path) as it:
        with await it.replica(receive_bytes=4096) as replica:
            await replica.ask(REPLID, END)
            await replica.line()
            it.feed.append(bytes(8_000_000))
            assert it.sessions[0].behind
            draining = asyncio.get_running_loop().create_task(it.downstream.drain())
            await replica.exactly(8_000_000)
            await draining
            assert not it.sessions[0].behind


async def test_draining_does_not_wait_for_ever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downstream_module, "_DRAIN_SECONDS", 0.05)
    async with port(path) as it:
        with await it.replica(receive_bytes=4096) as replica:
            await replica.ask(REPLID, END)
            await replica.line()
            it.feed.append(bytes(8_000_000))
            await it.downstream.drain()
            assert it.sessions[0].behind
            it.downstream.close_all("shutting down")
            assert it.sessions == []


@pytest.mark.usefixtures("no_ticks")
async def test_a_change_is_looked_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many changes there are in one turn of the loop."""
    async with port(path) as it:
        it.feed.shifting = True
        with await it.replica() as replica:
            await replica.ask(REPLID, END)
            await replica.newline()
            looked = []
            consider = it.service.consider

            def counted(session: object) -> None:
                looked.append(session)
                consider(session)  # type: ignore[arg-type]

            monkeypatch.setattr(it.service, "consider", counted)
            for _ in range(5):
                it.feed.changed()
            assert looked == []  # not in the middle of whatever changed
            for _ in range(5):
                await asyncio.sleep(0)
            assert len(looked) == 1
            it.feed.shifting = False
            it.feed.changed()
            assert await replica.line() == b"+CONTINUE"


async def test_nothing_leaks(path: Path) -> None:
    before = open_fds()
    async with port(path) as it:
        peers = [await it.replica() for _ in range(10)]
        for number, peer in enumerate(peers):
            if number % 3 == 0:
                await peer.ask()
                await peer.snapshot()
            elif number % 3 == 1:
                await peer.send(b"PING\r\n")
    for peer in peers:
        await peer.rest()
        peer.sock.close()
    assert isinstance(it.feed, Feed)
    assert it.sessions == []
    del it, peer
    assert open_fds() == before
