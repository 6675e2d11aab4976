"""What a replica is given: partial, or full from a stored snapshot."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest

from repltap.net import setbacks as setbacks_module
from repltap.net import spurned as spurned_module
from repltap.position import Offset
from repltap.rdb.compatibility import Wanted
from repltap.status.refresh import RefreshReason
from tests.net.peers import ack
from tests.net.relay import Port, port
from tests.net.serving import END
from tests.protocol.ways import rdb
from tests.stored import OTHER, REPLID, SET, START, add_snapshot, held, until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A data directory with a history of two commands."""
    return held(tmp_path, SET * 2)


async def until_held(it: Port) -> None:
    await until("a held request", lambda: any(s.wait and s.wait.held for s in it.sessions))


@pytest.mark.parametrize("behind", [0, 1, 2 * len(SET)])
async def test_the_journal_holds_what_is_missing(path: Path, behind: int) -> None:
    async with port(path) as it:
        with await it.replica() as replica:
            await replica.ask(REPLID, END - behind, b"capa psync2")
            assert await replica.line() == b"+CONTINUE " + REPLID.encode()
            it.feed.append(b"more")
            stream = SET * 2 + b"more"
            assert await replica.exactly(behind + 4) == stream[len(SET) * 2 - behind :]
        assert (it.service.partial, it.service.full, it.service.denied) == (1, 0, 0)


async def test_without_psync2_the_replid_is_not_named(path: Path) -> None:
    async with port(path) as it:
        with await it.replica() as replica:
            await replica.ask(REPLID, END)
            assert await replica.line() == b"+CONTINUE"


async def test_a_replica_goes_on_under_the_old_replid(path: Path) -> None:
    """After a failover: dropped once, then continued with its old replid, and told the new one."""
    async with port(path) as it:
        with await it.replica() as replica:
            await replica.ask(REPLID, END, b"capa psync2")
            assert await replica.line() == b"+CONTINUE " + REPLID.encode()
            await it.feed.resumed(OTHER, Offset(END))
            assert await replica.rest() == b""
        it.feed.append(b"new")
        with await it.replica() as replica:
            await replica.ask(REPLID, END, b"capa psync2")
            assert await replica.line() == b"+CONTINUE " + OTHER.encode()
            assert await replica.exactly(3) == b"new"
        with await it.replica() as replica:  # its bytes past the switch were the old master's
            await replica.ask(REPLID, END + 1)
            assert (await replica.snapshot())[:2] == (OTHER, START)
        assert (it.service.partial, it.service.full, it.service.denied) == (2, 1, 1)
        assert sum(it.service.denials.values()) == 1


async def test_requests_while_the_history_shifts(path: Path) -> None:
    async with port(path) as it:
        it.feed.shifting = True
        with await it.replica() as replica:
            await replica.ask(REPLID, END)
            await replica.newline()
            assert it.service.partial == 0
            it.feed.shifting = False
            it.feed.changed()
            assert await replica.line() == b"+CONTINUE"


@pytest.mark.parametrize(
    ("replid", "offset"),
    [(None, 0), (OTHER, END), (REPLID, START - 1)],
    ids=["nothing", "other history", "too old"],
)
async def test_a_full_sync_costs_the_master_nothing(
    path: Path, replid: str | None, offset: int
) -> None:
    async with port(path) as it:
        with await it.replica() as replica:
            await replica.ask(replid, offset)
            assert await replica.snapshot() == (REPLID, START, rdb())
            assert await replica.exactly(2 * len(SET)) == SET * 2
            it.feed.append(b"live")
            assert await replica.exactly(4) == b"live"
        assert it.refresher.requests == []
        assert (it.service.full, it.service.denied) == (1, int(replid is not None))


async def test_an_old_sync_gets_the_same_without_a_word(path: Path) -> None:
    async with port(path) as it:
        with await it.replica() as replica:
            await replica.send(b"SYNC\r\n")
            assert await replica.payload() == rdb()
            assert await replica.exactly(2 * len(SET)) == SET * 2


async def test_many_replicas_share_one_snapshot(path: Path) -> None:
    async with port(path) as it:
        replicas = [await it.replica() for _ in range(20)]
        for replica in replicas:
            await replica.ask()
        for replica in replicas:
            assert await replica.snapshot() == (REPLID, START, rdb())
            assert await replica.exactly(2 * len(SET)) == SET * 2
            replica.sock.close()
        assert it.service.full == 20
        assert it.refresher.requests == []


async def test_a_filter_for_everything(path: Path) -> None:
    """As `redis-cli --replica`: no data, the stream from now on."""
    async with port(path) as it:
        with await it.replica() as replica:
            await replica.ask(None, 0, b"capa eof", b'rdb-filter-only ""')
            replid, offset, data = await replica.snapshot()
            assert (replid, offset) == (REPLID, END)
            assert data.startswith(b"REDIS0009\xff")
            it.feed.append(b"live")
            assert await replica.exactly(4) == b"live"
        assert it.service.full == 1


@pytest.mark.parametrize("position", [(None, 0), (REPLID, END)], ids=["nothing", "all"])
async def test_a_node_of_a_cluster_is_refused_and_may_ask_again(
    path: Path, position: tuple[str | None, int], caplog: pytest.LogCaptureFixture
) -> None:
    """Not with an error that would make it fall back to SYNC, and forget its offset."""
    async with port(path) as it:
        with await it.replica() as replica:
            await replica.send(b"REPLCONF set-cluster-node-id " + b"a" * 40 + b"\r\n")
            assert (await replica.line()).startswith(b"-ERR This instance has cluster")
            for _ in range(3):
                await replica.ask(*position)
                assert (await replica.line()).startswith(b"-NOMASTERLINK this is repltap")
        assert (it.service.full, it.service.partial, it.service.denied) == (0, 0, 0)
    assert caplog.text.count("it is a node of a cluster") == 1


async def test_a_filter_with_nothing_there(tmp_path: Path) -> None:
    async with port(tmp_path) as it:
        with await it.replica() as replica:
            await replica.ask(None, 0, b"capa eof", b'rdb-filter-only ""')
            await replica.newline()


async def test_a_snapshot_that_the_replica_can_not_load(path: Path) -> None:
    """Held, and another one is asked for by the version it announced; then it is served."""
    async with port(path) as it:
        history = it.history
        history.snapshots.remove(history.snapshots.all[0])
        add_snapshot(history, rdb().replace(b"REDIS0011", b"VALKEY080"), offset=START)
        with await it.replica() as replica:
            await replica.ask(None, 0, b"version 8.1.0")
            await replica.newline()
            assert it.refresher.requests[0] == (Wanted("8.1.0"), RefreshReason.FORMAT)
            add_snapshot(history, rdb(), offset=START + len(SET))
            it.feed.changed()
            assert await replica.snapshot() == (REPLID, START + len(SET), rdb())
            assert await replica.exactly(len(SET)) == SET


async def test_another_relay_takes_any_snapshot(path: Path) -> None:
    async with port(path) as it:
        history = it.history
        history.snapshots.remove(history.snapshots.all[0])
        add_snapshot(history, rdb().replace(b"REDIS0011", b"REDIS0012"), offset=START)
        with await it.replica() as replica:
            await replica.ask(None, 0, b"version 9.1.2", b"capa repltap")
            assert (await replica.snapshot())[2].startswith(b"REDIS0012")


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_who_leaves_a_snapshot_unacknowledged_waits_longer_each_time(
    path: Path,
    fast_ticks: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    reset: bool,
) -> None:
    """Found by a new user: a replica that could not load it was sent 180 snapshots a second.

    Found on a busy machine: and again where it left stream bytes unread, as that is a reset.
    """
    monkeypatch.setattr(setbacks_module, "RETRY_SECONDS", (0.2, 3600.0))
    monkeypatch.setattr(spurned_module, "_RESET_SECONDS", 1800.0)
    async with port(path) as it:
        for _ in range(2):
            with await it.replica() as replica:
                await replica.ask(None, 0, b"listening-port 7777")
                assert (await replica.snapshot())[2] == rdb()
                if reset:
                    hurry = struct.pack("ii", 1, 0)
                    replica.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, hurry)
                else:
                    await replica.exactly(len(SET))
            await until("its end", lambda: not it.sessions)
        assert "gets another in 0.2 s" in caplog.text
        # Not as long: a network that fails resets it too, and may work again.
        assert f"gets another in {1800 if reset else 3600} s" in caplog.text
        with await it.replica() as again, await it.replica() as other:
            await again.ask(None, 0, b"listening-port 7777")
            await until_held(it)
            await other.ask(None, 0, b"listening-port 7778")
            assert (await other.snapshot())[2] == rdb()
            assert it.service.full == 3


async def test_who_asks_elsewhere_has_loaded_its_snapshot(
    path: Path, fast_ticks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found on a busy machine: a replica promoted soon after its sync waited 300 s for the next."""
    monkeypatch.setattr(setbacks_module, "RETRY_SECONDS", (3600.0,))
    async with port(path) as it:
        for replid in (None, OTHER, "9" * 40, "8" * 40):
            with await it.replica() as replica:
                await replica.ask(replid, int(START), b"listening-port 7777")
                assert (await replica.snapshot())[2] == rdb()
                await replica.exactly(len(SET))
            await until("its end", lambda: not it.sessions)
        for replid in ("8" * 40, None):
            with await it.replica() as replica:
                await replica.ask(replid, int(START), b"listening-port 7777")
                await until_held(it)
            await until("its end", lambda: not it.sessions)


async def test_who_acknowledged_is_served_at_once(path: Path, fast_ticks: None) -> None:
    async with port(path) as it:
        for _ in range(3):
            with await it.replica() as replica:
                await replica.ask(None, 0, b"listening-port 7777")
                assert (await replica.snapshot())[2] == rdb()
                await replica.send(ack(START))
                await until("its ACK", lambda: it.sessions[0].protocol.replica.acked is not None)
            await until("its end", lambda: not it.sessions)
        assert it.service.full == 3
