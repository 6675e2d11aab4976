"""One peer, from its first byte to its end, wherever that comes."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from pathlib import Path

import pytest

from repltap.config import ListenConfig
from repltap.endings import DisconnectReason
from repltap.net import downstream as downstream_module
from repltap.net.admin.context import ClientKind
from repltap.net.session import Session
from repltap.position import Offset
from repltap.status.replicas import ReplicaState
from tests.net.peers import FakeReplica, ack
from tests.net.relay import Port, port
from tests.protocol.ways import rdb
from tests.stored import OTHER, REPLID, SET, START, held, open_fds, until

END = START + len(SET)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return held(tmp_path, SET)


async def streaming(it: Port, replica: FakeReplica) -> None:
    await replica.ask(REPLID, END)
    assert await replica.line() == b"+CONTINUE"


async def test_what_a_replica_says_is_shown(path: Path) -> None:
    async with port(path) as it:
        with await it.replica() as replica:
            session = (await until("a session", lambda: it.sessions))[0]
            assert session.replica_status(time.time(), Offset(END)) is None
            assert session.kind is ClientKind.NORMAL
            await replica.ask(
                REPLID, START, b"listening-port 6399", b"ip-address fd00::9", b"version 9.1.2"
            )
            assert await replica.line() == b"+CONTINUE"
            await replica.exactly(len(SET))
            now = time.time()
            status = session.replica_status(now, Offset(END))
            assert status is not None
            assert (status.ip, status.port, status.version) == ("fd00::9", 6399, "9.1.2")
            assert (status.state, status.sent_offset) == (ReplicaState.ONLINE, END)
            assert (status.acked_offset, status.lag_bytes) == (None, None)
            await replica.send(ack(START + 2))
            await until("the ACK", lambda: session.protocol.replica.acked)
            status = session.replica_status(time.time(), Offset(END))
            assert (status.acked_offset, status.lag_bytes) == (START + 2, END - START - 2)
            assert status.last_ack_at >= now - 1
            assert (session.kind, session.name) == (ClientKind.REPLICA, "[fd00::9]:6399")
            assert (session.pin, session.behind) == (END, False)
            assert session.state.last_command == "psync"
            assert session.fd >= 0
            assert session.local_address == f"127.0.0.1:{it.downstream.listeners.port}"
        await until("the end", lambda: session.connection.closed)
        assert session.fd == -1


async def test_a_transfer_is_shown(path: Path) -> None:
    async with port(path) as it:
        intake = await it.feed.begin_intake(REPLID, Offset(500), origin="a test")
        intake.begin(1000)
        with await it.replica() as replica:
            await replica.ask()
            await replica.newline()
            session = it.sessions[0]
            waiting = session.replica_status(time.time(), Offset(END))
            assert waiting.state is ReplicaState.WAITING
            intake.write(rdb(bytes(200)))
            it.feed.changed()
            await replica.line()
            await replica.line()
            await replica.exactly(100)
            status = session.replica_status(time.time(), Offset(END))
            assert status.state is ReplicaState.TRANSFER
            assert status.snapshot_total_bytes == 1000
            assert status.snapshot_sent_bytes == session.sent_stream_bytes == intake.visible
            assert status.sent_offset is None
            assert session.pin == 500  # the whole stream behind the snapshot is still needed


async def test_a_rdb_only_client_gets_the_rdb_and_the_end(path: Path) -> None:
    """As `redis-cli --rdb` on Redis 7."""
    async with port(path) as it:
        with await it.replica() as replica:
            await replica.ask(None, 0, b"rdb-only 1")
            assert (await replica.snapshot())[2] == rdb()
            assert await replica.rest() == b""
        assert it.sessions == []
        assert it.feed.readers._attached == {}
        assert it.downstream.departures.counts == {"snapshot_only": 1}


async def test_a_rdb_only_client_gets_the_end_mark(path: Path) -> None:
    async with port(path) as it:
        intake = await it.feed.begin_intake(REPLID, Offset(500), origin="a test")
        intake.begin(None)
        intake.write(rdb(bytes(100)))
        with await it.replica() as replica:
            await replica.ask(None, 0, b"capa eof", b"rdb-only 1")
            await replica.line()
            mark = (await replica.line())[5:]
            it.feed.complete_intake(intake, 0)
            assert await replica.rest() == rdb(bytes(100)) + mark


async def test_a_replica_that_talks_is_closed(path: Path) -> None:
    async with port(path) as it:
        with await it.replica() as replica:
            await streaming(it, replica)
            await replica.send(b"PING\r\n")
            assert await replica.rest() == b""
        assert it.sessions == []
        (gone,) = it.downstream.departures.recent
        assert (gone.reason, gone.acked_offset) == ("protocol_error", None)
        assert gone.detail == "the replica sent 'PING' instead of an ACK"


@pytest.mark.parametrize("acks", [False, True])
async def test_silence_ends_a_stream(
    path: Path, acks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downstream_module, "_TICK_SECONDS", 0.005)
    async with port(path) as it:
        with await it.replica() as replica:
            await streaming(it, replica)
            protocol = it.sessions[0].protocol
            if acks:
                await replica.send(ack(END))
                await until("the ACK", lambda: protocol.replica.acked == END)
            protocol.timeout_seconds = 0.1
            assert await replica.rest() == b""
        (gone,) = it.downstream.departures.recent
        assert (gone.reason, gone.acked_offset) == ("ack_timeout", END if acks else None)


async def test_a_replica_that_never_reads_does_not_disturb(path: Path) -> None:
    """What it has not read stays on the disk; the others go on."""
    async with port(path) as it:
        with await it.replica(receive_bytes=4096) as lazy, await it.replica() as live:
            for replica in (lazy, live):
                await streaming(it, replica)
            block = bytes(range(256)) * 256
            for _ in range(100):
                it.feed.append(block)
                assert await live.exactly(len(block)) == block
            session = it.sessions[0]
            assert session.behind
            assert END < session.pin < it.history.journal.end
            assert session.output_buffered_bytes == 0
            for _ in range(100):
                assert await lazy.exactly(len(block)) == block
            assert not session.behind


@pytest.mark.parametrize("reset", [False, True])
async def test_a_replica_that_leaves(path: Path, reset: bool) -> None:
    async with port(path) as it:
        with await it.replica() as replica:
            await streaming(it, replica)
            if reset:
                replica.sock.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
        await until("the end", lambda: not it.sessions)
        (gone,) = it.downstream.departures.recent
        assert gone.reason == ("connection_lost" if reset else "closed")


async def test_a_history_that_ends(path: Path) -> None:
    """A new replid, then a full resync of the master: each is told apart."""
    async with port(path) as it:
        with await it.replica() as replica:
            await streaming(it, replica)
            await it.feed.resumed(OTHER, END)
            assert await replica.rest() == b""
        with await it.replica() as replica:
            await replica.ask(OTHER, END)
            assert (await replica.line()).startswith(b"+CONTINUE")
            intake = await it.feed.begin_intake(REPLID, Offset(500), origin="a test")
            intake.begin(len(rdb()))
            intake.write(rdb())
            it.feed.complete_intake(intake, 0)
            assert await replica.rest() == b""
        assert it.downstream.departures.counts == {"new_replid": 1, "new_history": 1}


STAGES = ["connected", "half a command", "held", "transfer", "before the ACK", "blocked", "stream"]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("side", ["peer", "relay"])
async def test_an_end_at_every_stage_leaves_nothing_behind(
    path: Path, stage: str, side: str
) -> None:
    async with port(path) as it:
        intake = await it.feed.begin_intake(REPLID, Offset(500), origin="a test")
        before = open_fds()
        replica = await it.replica(receive_bytes=4096)
        session = (await until("a session", lambda: it.sessions))[0]
        await _bring_to(stage, it, replica)
        if side == "relay":
            session.drop(DisconnectReason.SHUTDOWN, "the end")
            await replica.rest()
        replica.sock.close()
        if stage == "blocked":
            it.feed.append(SET)  # nothing is heard of a peer that is gone until it is sent to
        await until("the end", lambda: not it.sessions)
        assert session.connection.closed
        assert it.feed.readers._attached == {}
        assert session not in it.feed.readers._idle
        assert [s for s in it.history.journal.segments if s._holders] == []
        assert (session.outflow.snapshot_sent, session.wait) == (None, None)
        if stage == "before the ACK":
            await until("publication", lambda: it.feed.settling is None)
            del intake
        it.feed.abandon_intake("the test is over")
        await it.feed._tasks.join()
        session = replica = intake = None  # type: ignore[assignment]
        left = {line for line in open_fds() - before if "/histories/" not in line}
        assert left == set()
        assert len([line for line in open_fds() if "snapshots" in line]) == 0


async def _bring_to(stage: str, it: Port, replica: FakeReplica) -> None:
    intake = it.feed.intake
    assert intake is not None
    if stage == "half a command":
        await replica.send(b"*3\r\n$5\r\nPSY")
        await until("input", lambda: it.sessions[0].input_buffered_bytes)
    elif stage == "held":
        await replica.ask()
        await replica.newline()
    elif stage in ("transfer", "before the ACK"):
        intake.begin(None)
        intake.write(rdb(bytes(2000)))
        await replica.ask(None, 0, b"capa eof")
        await replica.line()
        await replica.line()
        if stage == "before the ACK":
            it.feed.complete_intake(intake, 0)
            await replica.exactly(len(rdb(bytes(2000))) + 40)
    elif stage in ("stream", "blocked"):
        await streaming(it, replica)
        if stage == "blocked":
            it.feed.append(bytes(8_000_000))
            await until("a full socket", lambda: it.sessions[0].connection._writing)


async def test_a_replica_that_lags_in_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on acknowledging what it had, while the stream has moved on."""
    monkeypatch.setattr(downstream_module, "_TICK_SECONDS", 0.005)
    async with port(path, ListenConfig(port=0, max_lag_seconds=3600)) as it:
        with await it.replica() as late, await it.replica() as live:
            for replica in (late, live):
                await streaming(it, replica)
                await replica.send(ack(END))
            await until("ACKs", lambda: all(s.protocol.replica.acked == END for s in it.sessions))
            shown = it.downstream.replicas(time.time(), it.history.journal.end)
            assert [replica.lag_seconds for replica in shown] == [0, 0]
            await until("ticks", lambda: all(session._lag._armed for session in it.sessions))
            it.feed.append(SET)
            await live.send(ack(END + len(SET)))
            await until("its ACK", lambda: it.sessions[1].protocol.replica.acked == END + len(SET))
            for session in it.sessions:
                session._lag._limit = 0.1
            assert await late.rest() == SET
            assert len(it.sessions) == 1
        (gone, *_) = it.downstream.departures.recent[::-1]
        assert gone.reason == "lag_seconds"
        assert gone.acked_offset == END
        assert "s behind, more than the limit" in gone.detail


# -- transfers, slots and rates --------------------------------------------------------------------

LARGE = rdb(bytes(12_000_000))
"""More than the kernel takes for a replica that does not read."""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    return held(tmp_path, SET * 2, snapshot=LARGE)


async def large_one(replica: FakeReplica) -> None:
    """Read the whole transfer and the first of the stream."""
    assert await replica.snapshot() == (REPLID, START, LARGE)
    assert await replica.exactly(2 * len(SET)) == SET * 2


def states(it: Port) -> list[str]:
    """What the status shows, by connection."""
    return [
        f"{shown.state.value}{shown.queue_position or ''}"
        for shown in it.downstream.replicas(0.0, END)
    ]


async def test_who_comes_with_a_change_does_not_overtake(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found on a busy machine: who asked as a snapshot was found sound got it before the first."""
    async with port(large, ListenConfig(port=0, max_transfers=1)) as it:
        with await it.replica(receive_bytes=4096) as first, await it.replica() as second:
            await until("the check", lambda: it.feed.shelf.newest(lambda _: True))
            it.feed.shifting = True
            await first.ask()
            await first.newline()
            requested = it.downstream.sync_requested

            def with_the_change(session: Session) -> None:
                it.feed.shifting = False
                it.feed.changed()
                requested(session)

            monkeypatch.setattr(it.downstream, "sync_requested", with_the_change)
            await second.ask()
            await second.newline()
            await until("a transfer", lambda: states(it) == ["send_bulk", "wait_bgsave1"])


async def test_who_comes_late_waits_for_a_transfer_to_end(large: Path) -> None:
    listen = ListenConfig(port=0, max_transfers=2)
    async with port(large, listen) as it:
        replicas = []
        for number in range(1, 6):
            replica = await it.replica(receive_bytes=4096)
            replicas.append(replica)
            await until("a session", lambda n=number: len(it.sessions) == n)
            await replica.ask()
            await until(
                "the request", lambda n=number: it.sessions[n - 1].kind is ClientKind.REPLICA
            )
        first, second, third, fourth, fifth = replicas
        for replica in (third, fourth, fifth):
            await replica.newline()
        await until("the queue", lambda: len(it.downstream.slots.places()) == 3)
        assert states(it) == [
            "send_bulk",
            "send_bulk",
            "wait_bgsave1",
            "wait_bgsave2",
            "wait_bgsave3",
        ]
        # Nobody waits for a partial resync.
        with await it.replica() as near:
            await near.ask(REPLID, END)
            assert await near.line() == b"+CONTINUE"
        fourth.sock.close()  # gives up
        await until("the shorter queue", lambda: len(it.downstream.slots.places()) == 2)
        await large_one(first)
        await until(
            "the next",
            lambda: states(it)[:4] == ["online", "send_bulk", "send_bulk", "wait_bgsave1"],
        )
        second.sock.close()  # frees its slot as well
        await large_one(third)
        await large_one(fifth)
        for replica in (first, third, fifth):
            replica.sock.close()
        await until("the end", lambda: not it.sessions)
        assert it.downstream.slots.running == 0
        assert it.service.full == 4


async def test_all_come_through_one_slot_in_order(path: Path) -> None:
    listen = ListenConfig(port=0, max_transfers=1)
    async with port(path, listen) as it:
        replicas = [await it.replica() for _ in range(30)]
        for replica in replicas:
            await replica.ask()
        for replica in replicas:
            assert await replica.snapshot() == (REPLID, START, rdb())
            replica.sock.close()
        assert it.service.full == 30


@pytest.mark.parametrize("limit", ["transfer_rate_bytes", "total_rate_bytes"])
async def test_a_limited_transfer_is_whole_and_not_taken_for_stalled(
    tmp_path: Path, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes five times the timeout, with a tick each five milliseconds."""
    monkeypatch.setattr(downstream_module, "_TICK_SECONDS", 0.005)
    data = rdb(bytes(100_000))
    held(tmp_path, SET, snapshot=data)
    listen = ListenConfig(port=0, timeout_seconds=0.1, **{limit: 200_000})  # type: ignore[arg-type]
    async with port(tmp_path, listen) as it:
        with await it.replica() as replica:
            await replica.ask()
            begun = asyncio.get_running_loop().time()
            assert await replica.snapshot() == (REPLID, START, data)
            assert asyncio.get_running_loop().time() - begun >= 0.25  # it can't be faster
            assert await replica.exactly(len(SET)) == SET
        await until("the end", lambda: not it.sessions)
        assert it.downstream.throttle._hungry == []
        assert it.downstream.throttle._timer is None


async def test_the_stream_is_never_slowed(path: Path) -> None:
    listen = ListenConfig(port=0, transfer_rate_bytes=10_000, total_rate_bytes=10_000)
    async with port(path, listen) as it:
        with await it.replica() as replica:
            await streaming(it, replica)
            it.feed.append(bytes(2_000_000))
            assert await replica.exactly(2_000_000) == bytes(2_000_000)
