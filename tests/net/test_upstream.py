"""The link to the master: what is stored, what is asked for next, and when it is tried again."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from repltap.endings import FailureReason
from repltap.errors import DataDirError
from repltap.net import attempts as attempts_module
from repltap.status.link import LinkState
from tests.net.links import ANYTHING, asks_for, synced
from tests.net.peers import FakeMaster
from tests.net.relay import link
from tests.protocol.ways import MARK, rdb
from tests.servers.ports import silent_port
from tests.stored import OTHER, REPLID, SET, START, command, held, open_fds, until


async def test_a_first_sync(tmp_path: Path, master: FakeMaster) -> None:
    async with link(tmp_path, master.port, announce_ip="10.1.2.3") as it:
        assert it.link.status().state in (LinkState.CONNECT, LinkState.CONNECTING)
        peer = await synced(it, master, SET)
        assert peer.options[b"listening-port"] == b"6380"
        assert peer.options[b"ip-address"] == b"10.1.2.3"
        await peer.acked(START + len(SET))
        assert it.history.history.replid == REPLID
        assert it.history.journal.read(START, 100) == SET
        await until("the snapshot", lambda: it.history.snapshots.all)
        assert it.history.snapshots.all[0].path.read_bytes() == rdb()
        status = it.link.status()
        assert (status.state, status.last_error, status.sync) == (LinkState.CONNECTED, "", None)
        assert status.acked_offset == START + len(SET)
        assert status.up_since is not None
        assert status.last_io_at is not None
        assert (status.connects, status.disconnects, status.attempts) == (1, 0, 0)
        counters = it.link.counters
        assert (counters.full_resyncs, counters.partial_resyncs) == (1, 0)
        assert counters.partial_denied == 0  # none was asked for
        assert counters.received_bytes == len(rdb()) + len(SET)
    assert it.link.state is LinkState.STOPPED


async def test_an_announced_port_goes_before_the_real_one(
    tmp_path: Path, master: FakeMaster
) -> None:
    async with link(tmp_path, master.port, announce_port=7777, announce_version="none"):
        peer, _ = await master.asked()
        assert peer.options[b"listening-port"] == b"7777"
        assert b"version" not in peer.options
        assert b"ip-address" not in peer.options


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_it_goes_on_where_it_stopped(tmp_path: Path, master: FakeMaster, end: str) -> None:
    async with link(tmp_path, master.port) as it:
        peer = await synced(it, master, SET)
        getattr(peer, end)()
        peer, asked = await master.asked()
        assert asked == asks_for(START + len(SET))
        peer.say(b"+CONTINUE\r\n" + SET)
        await it.holds(START + 2 * len(SET))
        assert it.link.counters.partial_resyncs == 1
        assert it.link.counters.disconnects == 1
        # A close with an ACK unread is a reset to us.
        assert list(it.link.counters.ends.values()) == [1]
        assert set(it.link.counters.ends) <= {FailureReason.CONNECTION_LOST, FailureReason.EOF}
        assert it.history.journal.read(START, 100) == SET * 2
        await peer.acked(START + 2 * len(SET))


async def test_after_a_restart_it_asks_from_the_last_whole_command(
    tmp_path: Path, master: FakeMaster
) -> None:
    held(tmp_path, SET + SET[:11])
    async with link(tmp_path, master.port) as it:
        peer, asked = await master.asked()
        assert asked == asks_for(START + len(SET))
        peer.say(b"+CONTINUE %b\r\n" % REPLID.encode() + SET + SET)
        await it.holds(START + 3 * len(SET))
        assert it.history.journal.read(START, 1000) == SET * 3


async def test_replayed_bytes_are_not_acknowledged_before_they_came(
    tmp_path: Path, master: FakeMaster
) -> None:
    held(tmp_path, SET + SET[:30])
    async with link(tmp_path, master.port):
        peer, _ = await master.asked()
        peer.say(b"+CONTINUE\r\n" + SET[:5])
        await peer.acked(START + len(SET))
        args = await peer.command()
        assert int(args[2]) <= START + len(SET) + 5


async def test_a_master_that_replays_other_bytes(tmp_path: Path, master: FakeMaster) -> None:
    """The bytes it sent are not believed; what was held is served until the full sync is whole."""
    held(tmp_path, SET + SET[:11])
    async with link(tmp_path, master.port) as it:
        old = it.history
        peer, _ = await master.asked()
        peer.say(b"+CONTINUE\r\n" + command(b"DEL", b"key") * 5)
        await peer.gone()
        peer, asked = await master.asked()
        assert asked == ANYTHING
        assert "other bytes than it sent before" in it.link.status().last_error
        assert it.feed.history is old
        assert old.journal.read(START, 1000) == SET + SET[:11]
        peer.full(REPLID, START + 500)
        await until("the new history", lambda: it.feed.history is not old)
        peer.close()
        _, asked = await master.asked()
        assert asked == asks_for(START + 500)


async def test_who_holds_what_a_master_has_contradicted_is_not_waited_for(
    tmp_path: Path, master: FakeMaster
) -> None:
    """Its bytes are not those that the journal comes to, though the replication id is the same."""
    held(tmp_path, SET + SET[:11])
    async with link(tmp_path, master.port) as it:
        old = it.history
        peer, _ = await master.asked()
        peer.say(b"+CONTINUE\r\n" + command(b"DEL", b"key"))
        await peer.gone()
        peer, asked = await master.asked()
        assert asked == ANYTHING
        peer.full(REPLID, START)
        await until("the new history", lambda: it.feed.history is not old)
        assert it.history.history.replid == old.history.replid
        assert it.history.known_end == 0


async def test_a_new_replid(tmp_path: Path, master: FakeMaster) -> None:
    held(tmp_path, SET + SET[:11])
    async with link(tmp_path, master.port) as it:
        peer, _ = await master.asked()
        peer.say(b"+CONTINUE %b\r\n" % OTHER.encode() + command(b"DEL", b"key"))
        at = START + len(SET)
        await it.holds(at + len(command(b"DEL", b"key")))
        history = it.history.history
        assert (history.replid, history.replid2, history.second_offset) == (OTHER, REPLID, at + 1)
        assert it.history.journal.read(START, 1000) == SET + command(b"DEL", b"key")
        peer.close()
        _, asked = await master.asked()
        assert asked == asks_for(at + len(command(b"DEL", b"key")), OTHER)


@pytest.mark.parametrize(
    "part",
    [
        b"+FULLRESYNC %b 500\r\n" % OTHER.encode(),
        b"+FULLRESYNC %b 500\r\n$%d\r\n" % (OTHER.encode(), len(rdb())),
        b"+FULLRESYNC %b 500\r\n$%d\r\n%b" % (OTHER.encode(), len(rdb()), rdb()[:-1]),
        b"+FULLRESYNC %b 500\r\n$EOF:%b\r\n%b" % (OTHER.encode(), MARK, rdb()),
        b"+FULLRESYNC %b 500\r\n$%d\r\n%b" % (OTHER.encode(), len(rdb()), rdb(checksum="wrong")),
        b"+FULLRESYNC %b 500\r\n-ERR no fork\r\n" % OTHER.encode(),
    ],
    ids=["granted", "begun", "all but a byte", "no end mark", "wrong checksum", "aborted"],
)
async def test_a_full_sync_that_fails(tmp_path: Path, master: FakeMaster, part: bytes) -> None:
    """Nothing of it stays; what was held is there, and is what is asked for next."""
    held(tmp_path, SET)
    async with link(tmp_path, master.port) as it:
        peer, _ = await master.asked()
        old = it.history
        peer.say(part)
        await until("the intake", lambda: it.link.counters.full_resyncs)
        assert it.link.counters.partial_denied == 1
        peer.close()
        peer, asked = await master.asked()
        assert asked == asks_for(START + len(SET))
        assert (it.feed.history, it.feed.intake, it.feed.settling) == (old, None, None)
        await until("removal", lambda: os.listdir(tmp_path / "histories") == ["1-01234567"])
        peer.say(b"+CONTINUE\r\n" + SET)
        await it.holds(START + 2 * len(SET))


async def test_progress_of_a_snapshot(tmp_path: Path, master: FakeMaster) -> None:
    async with link(tmp_path, master.port) as it:
        peer, _ = await master.asked()
        data = rdb(bytes(1000))
        peer.say(b"+FULLRESYNC %b 5\r\n$%d\r\n" % (REPLID.encode(), len(data)) + data[:600])

        def received() -> bool:
            sync = it.link.status().sync
            return sync is not None and sync.received_bytes == 600

        await until("bytes", received)
        sync = it.link.status().sync
        assert sync is not None
        assert (sync.offset, sync.total_bytes) == (5, len(data))
        assert it.link.state is LinkState.SYNC
        assert it.link.streaming_since is None
        peer.say(data[600:])
        await it.holds(5)


async def test_the_index_covers_all_when_the_link_has_broken(
    tmp_path: Path, master: FakeMaster
) -> None:
    """Killed just then, and followed by a failover, it cost replicas below a full sync."""
    async with link(tmp_path, master.port) as it:
        peer, _ = await master.asked()
        peer.full(REPLID, 5)
        peer.say(b"twelve bytes")
        await it.holds(5 + 12)
        flushed = Mock(wraps=it.feed.flush_index)
        it.feed.flush_index = flushed  # type: ignore[method-assign]
        peer.close()
        await until("it is flushed", lambda: flushed.called)


async def test_an_end_mark_and_a_version(tmp_path: Path, master: FakeMaster) -> None:
    async with link(tmp_path, master.port) as it:
        peer, _ = await master.asked()
        data = rdb(b"\xfa\x09redis-ver\x067.0.15")
        peer.say(b"+FULLRESYNC %b 5\r\n\n\n$EOF:%b\r\n" % (REPLID.encode(), MARK) + data + MARK)
        await peer.acked(5)
        peer.say(SET)
        await it.holds(5 + len(SET))
        await until("publication", lambda: it.history.snapshots.all)
        assert it.link.status().server_version == "7.0.15"
        assert it.history.snapshots.all[0].path.read_bytes() == data


async def test_a_master_that_refuses_is_tried_with_backoff(
    tmp_path: Path,
    master: FakeMaster,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    delays: list[tuple[float, float]] = []

    def shortest(low: float, high: float) -> float:
        delays.append((low, high))
        return low

    monkeypatch.setattr(attempts_module.random, "uniform", shortest)
    async with link(tmp_path, master.port) as it:
        for attempt in range(1, 5):
            peer = await master.link()
            peer.say(b"-LOADING Redis is loading the dataset in memory\r\n")
            await peer.gone()
            await until("the failure", lambda: it.link.status().last_error)
            assert it.link.status().attempts >= attempt
        assert it.link.status().up_since is None
        assert caplog.text.count("is loading the dataset") == 1  # the same failure, said once
        peer = await synced(it, master)
        assert it.link.status().attempts == 0
        assert it.link.status().last_error == ""
        assert it.link.counters.ends == {FailureReason.LOADING: 4}
    assert delays[:4] == [(0.5, 1.0)] * 4


async def test_nobody_listens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with silent_port() as port:
        async with link(tmp_path, port) as it:
            await until("attempts", lambda: it.link.status().attempts >= 3)
            status = it.link.status()
            assert (
                status.last_error
                == "can't connect: Connection refused (is the master up? It is tried again)"
            )
            await until("a wait", lambda: it.link.status().next_try_at is not None)
            assert set(it.link.counters.ends) == {FailureReason.CONNECT_FAILED}
    assert caplog.text.count("Connection refused") == 1


async def test_a_master_that_falls_silent(tmp_path: Path, master: FakeMaster) -> None:
    async with link(tmp_path, master.port) as it:
        peer = await synced(it, master, SET)
        assert it.link._conversation is not None
        protocol = it.link._conversation.protocol
        protocol.settings = replace(protocol.settings, timeout_seconds=0.3)
        await peer.gone()  # it hung up by itself
        assert "nothing came" in it.link.status().last_error
        assert it.link.counters.ends == {FailureReason.TIMEOUT: 1}
        _, asked = await master.asked()
        assert asked == asks_for(START + len(SET))


async def test_a_broken_store_ends_it(
    tmp_path: Path, master: FakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object) -> None:
        raise DataDirError("input/output error", path=tmp_path)

    held(tmp_path)
    async with link(tmp_path, master.port) as it:
        peer, _ = await master.asked()
        monkeypatch.setattr(it.history.journal, "append", broken)
        peer.say(b"+CONTINUE\r\n" + SET)
        await asyncio.wait([it.task])
        with pytest.raises(DataDirError):
            it.task.result()
        assert it.link.state is LinkState.STOPPED
        await peer.gone()
        monkeypatch.undo()


@pytest.mark.parametrize("stage", ["connected", "handshake", "granted", "snapshot", "stream"])
async def test_stopping_at_every_stage_leaves_nothing_behind(tmp_path: Path, stage: str) -> None:
    before = open_fds()
    async with FakeMaster() as master:
        async with link(tmp_path, master.port) as it:
            peer = await master.link()
            if stage != "connected":
                await peer.handshake()
            if stage in ("granted", "snapshot"):
                peer.say(b"+FULLRESYNC %b 5\r\n" % REPLID.encode())
                await until("the grant", lambda r=it: r.feed.intake is not None)
            if stage == "snapshot":
                peer.say(b"$100\r\nREDIS0011")
                await until("bytes", lambda r=it: r.feed.intake and r.feed.intake.format)
            if stage == "stream":
                peer.full(REPLID, 5)
                peer.say(SET)
                await it.holds(5 + len(SET))
        await peer.gone()
    del it, peer
    assert open_fds() == before


async def test_many_broken_links_leave_nothing_behind(tmp_path: Path, master: FakeMaster) -> None:
    held(tmp_path, SET)
    async with link(tmp_path, master.port) as it:
        counts: list[int] = []
        for _ in range(10):
            peer, asked = await master.asked()
            assert asked == asks_for(START + len(SET))
            # Counted at the same point of each: asked, and the last intake removed.
            await it.feed._tasks.join()
            assert os.listdir(tmp_path / "histories") == ["1-01234567"]
            counts.append(len(open_fds()))
            peer.say(b"+FULLRESYNC %b 500\r\n$500\r\nREDIS0011" % OTHER.encode())
            await until("the intake", lambda: it.feed.intake is not None)
            peer.reset()
            await until("the end", lambda: it.feed.intake is None)
        assert max(counts[-3:]) <= max(counts[:3]), counts
