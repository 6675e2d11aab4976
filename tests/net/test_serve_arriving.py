"""Full syncs from a snapshot that is still arriving, over the link or by a refresh."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from repltap.intake import HOLD_BACK_BYTES, Intake
from repltap.position import Offset
from repltap.rdb.compatibility import Wanted
from repltap.status.refresh import RefreshReason
from repltap.store.history import HistoryStore
from repltap.store.store import Store
from tests.net.peers import ack
from tests.net.relay import Port, port
from tests.net.serving import END, begin
from tests.protocol.ways import rdb
from tests.stored import OTHER, REPLID, SET, START, closed_gate, held, hold, open_store, until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A data directory with a history of two commands."""
    return held(tmp_path, SET * 2)


async def test_held_until_there_is_something(tmp_path: Path) -> None:
    async with port(tmp_path) as it:
        with await it.replica() as replica:
            await replica.ask(REPLID, 7)
            await replica.newline()
            data = rdb()
            intake = await begin(it.feed, size=len(data))
            intake.write(data)
            it.feed.complete_intake(intake, 0)
            assert await replica.snapshot() == (OTHER, Offset(500), data)
            it.feed.append(b"live")
            assert await replica.exactly(4) == b"live"


async def test_keepalives_while_it_is_held(
    tmp_path: Path, fast_ticks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repltap.protocol.downstream.NEWLINE_PERIOD_SECONDS", 0.001)
    async with port(tmp_path) as it:
        with await it.replica() as replica:
            await replica.ask()
            for _ in range(4):
                await replica.newline()


@pytest.mark.parametrize("old", [False, True])
async def test_a_snapshot_is_passed_on_while_it_arrives(tmp_path: Path, old: bool) -> None:
    if old:
        store = open_store(tmp_path)
        hold(store)
        store.close()
    async with port(tmp_path) as it:
        data = rdb(bytes(5000))
        intake = await begin(it.feed, size=len(data))
        with await it.replica() as replica:
            await replica.ask()
            await replica.newline()  # the format is not known yet
            intake.write(data[:3000])
            it.feed.changed()
            assert await replica.line() == b"+FULLRESYNC %b 500" % OTHER.encode()
            assert await replica.line() == b"$%d" % len(data)
            assert await replica.exactly(3000 - HOLD_BACK_BYTES) == data[: 3000 - HOLD_BACK_BYTES]
            intake.write(data[3000:])
            rest = len(data) - 3000
            assert await replica.exactly(rest) == data[3000 - HOLD_BACK_BYTES : -HOLD_BACK_BYTES]
            it.feed.complete_intake(intake, 0)
            it.feed.append(b"live")
            assert await replica.exactly(HOLD_BACK_BYTES) == data[-HOLD_BACK_BYTES:]
            assert await replica.exactly(4) == b"live"
        await until("publication", lambda: it.feed.settling is None)


async def test_a_snapshot_without_a_length_and_its_end_mark(tmp_path: Path) -> None:
    """The stream waits for the first ACK: a loader would swallow it with the mark."""
    async with port(tmp_path) as it:
        data = rdb(bytes(2000))
        intake = await begin(it.feed)
        intake.write(data[:1000])
        it.feed.changed()
        with await it.replica() as replica:
            await replica.ask(None, 0, b"capa eof")
            assert await replica.line() == b"+FULLRESYNC %b 500" % OTHER.encode()
            head = await replica.line()
            assert head.startswith(b"$EOF:")
            mark = head[5:]
            assert len(mark) == 40
            intake.write(data[1000:])
            it.feed.complete_intake(intake, 0)
            it.feed.append(SET)
            assert await replica.exactly(len(data) + 40) == data + mark
            session = it.sessions[0]
            await until("the end of the transfer", lambda: session.outflow.snapshot_sent is None)
            assert session.outflow.sent_offset is None
            await replica.send(ack(0))
            assert await replica.exactly(len(SET)) == SET


async def test_each_replica_has_an_end_mark_of_its_own(tmp_path: Path) -> None:
    async with port(tmp_path) as it:
        intake = await begin(it.feed)
        intake.write(rdb(bytes(100)))
        marks = set()
        for _ in range(2):
            with await it.replica() as replica:
                await replica.ask(None, 0, b"capa eof")
                await replica.line()
                marks.add(await replica.line())
        assert len(marks) == 2


async def test_without_capa_eof_the_length_is_waited_for(tmp_path: Path) -> None:
    async with port(tmp_path) as it:
        data = rdb(bytes(2000))
        intake = await begin(it.feed)
        intake.write(data)
        with await it.replica() as replica:
            await replica.ask()
            await replica.newline()
            it.feed.changed()
            await asyncio.sleep(0)
            assert it.service.full == 0
            it.feed.complete_intake(intake, 0)
            assert await replica.snapshot() == (OTHER, Offset(500), data)


@pytest.mark.parametrize("size_is_known", [True, False])
async def test_an_intake_that_is_cut_is_never_whole_below(
    tmp_path: Path, size_is_known: bool
) -> None:
    async with port(tmp_path) as it:
        data = rdb(bytes(2000))
        intake = await begin(it.feed, size=len(data) if size_is_known else None)
        intake.write(data)  # all of it, but not verified
        with await it.replica() as replica:
            await replica.ask(None, 0, b"capa eof")
            await replica.line()
            await replica.line()
            assert await replica.exactly(100) == data[:100]
            it.feed.abandon_intake("the master broke off the snapshot")
            got = data[:100] + await replica.rest()
            assert got == data[:-HOLD_BACK_BYTES]
        assert it.sessions == []


async def test_the_old_history_is_continued_while_a_snapshot_arrives(path: Path) -> None:
    async with port(path) as it:
        intake = await begin(it.feed, size=1000)
        intake.write(b"REDIS0011")
        with await it.replica() as replica:
            await replica.ask(REPLID, START)
            assert await replica.line() == b"+CONTINUE"
            assert await replica.exactly(2 * len(SET)) == SET * 2
            it.feed.abandon_intake("cut")
            it.feed.append(b"and on")
            assert await replica.exactly(6) == b"and on"


async def test_the_new_history_replaces_the_old_one_below(path: Path) -> None:
    async with port(path) as it:
        with await it.replica() as replica:
            await replica.ask(REPLID, END)
            assert await replica.line() == b"+CONTINUE"
            intake = await begin(it.feed, size=len(rdb()))
            intake.write(rdb())
            it.feed.complete_intake(intake, 0)
            assert await replica.rest() == b""
        with await it.replica() as replica:
            await replica.ask(REPLID, END)
            assert (await replica.snapshot())[0] == OTHER


async def test_a_snapshot_that_settles_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has arrived and is being made durable: good enough for replicas, eof or not."""
    publish = Store.publish

    def slow(store: Store, history: HistoryStore) -> None:
        gate.wait()
        publish(store, history)

    monkeypatch.setattr(Store, "publish", slow)
    async with port(tmp_path) as it:
        with closed_gate() as gate:
            intake = await begin(it.feed)
            intake.write(rdb())
            it.feed.complete_intake(intake, 0)
            it.feed.append(SET)
            assert it.feed.settling is intake
            with await it.replica() as replica:
                await replica.ask()
                assert await replica.snapshot() == (OTHER, Offset(500), rdb())
                assert await replica.exactly(len(SET)) == SET
                gate.set()
                await until("publication", lambda: it.feed.settling is None)
                it.feed.append(SET)
                assert await replica.exactly(len(SET)) == SET
            assert it.refresher.requests == []


def arriving(it: Port, *, size: int | None = None) -> Intake:
    """A refresh of the history that is served."""
    intake = Intake(it.history, it.history.snapshots.begin(Offset(END)), origin="a test")
    intake.begin(size)
    it.refresher.arriving = intake
    return intake


@pytest.mark.parametrize("hopeful", [True, False])
async def test_an_old_snapshot_is_sent_where_no_other_can_be_had(path: Path, hopeful: bool) -> None:
    async with port(path) as it:
        it.refresher.objections[START] = RefreshReason.TAIL
        it.refresher.is_hopeful = hopeful
        with await it.replica() as replica:
            await replica.ask()
            if hopeful:
                await replica.newline()
                await until("the request", lambda: it.refresher.requests)
                assert it.refresher.requests[0] == (Wanted(), RefreshReason.TAIL)
                it.refresher.is_hopeful = False  # it has failed meanwhile
                it.feed.changed()
            assert await replica.snapshot() == (REPLID, START, rdb())
        assert bool(it.refresher.requests) is hopeful


async def test_the_other_one_is_sent_while_it_arrives(path: Path) -> None:
    async with port(path) as it:
        it.refresher.objections[START] = RefreshReason.TAIL
        data = rdb(bytes(500))
        with await it.replica() as replica:
            await replica.ask()
            await replica.newline()
            intake = arriving(it, size=len(data))
            it.feed.changed()
            await asyncio.sleep(0)
            assert it.service.full == 0  # its format is not known yet
            intake.write(data)
            it.feed.changed()
            assert await replica.line() == b"+FULLRESYNC %b %d" % (REPLID.encode(), END)
            assert await replica.line() == b"$%d" % len(data)
            seen = len(data) - HOLD_BACK_BYTES
            assert await replica.exactly(seen) == data[:seen]
            it.feed.append(SET)  # wakes nobody: the stream comes after it
            intake.verify(0)
            intake.release()
            assert await replica.exactly(HOLD_BACK_BYTES) == data[seen:]
            assert await replica.exactly(len(SET)) == SET
        intake.discard()


async def test_only_who_can_load_it_is_sent_what_arrives(path: Path) -> None:
    async with port(path) as it:
        it.refresher.objections[START] = RefreshReason.AGE
        data = rdb(bytes(500)).replace(b"REDIS0011", b"REDIS0012")
        intake = arriving(it)
        intake.write(data)
        with await it.replica() as redis, await it.replica() as old, await it.replica() as valkey:
            await redis.ask(None, 0, b"capa eof")
            assert (await redis.line()).startswith(b"+FULLRESYNC")
            await valkey.ask(None, 0, b"capa eof", b"version 8.1.0")
            await valkey.newline()
            await old.ask()  # can't take an end mark
            await old.newline()
            intake.verify(0)
            it.feed.changed()
            assert await old.line() == b"+FULLRESYNC %b %d" % (REPLID.encode(), END)
            assert await old.line() == b"$%d" % len(data)
            assert it.service.full == 2
        intake.discard()


async def test_what_arrives_and_fails_drops_who_follows_it(path: Path) -> None:
    """And nobody else: others stream the same history."""
    async with port(path) as it:
        data = rdb(bytes(500))
        intake = arriving(it, size=len(data))
        intake.write(data)
        with await it.replica() as streams, await it.replica() as follows:
            await streams.ask(REPLID, END)
            assert await streams.line() == b"+CONTINUE"
            it.refresher.objections[START] = RefreshReason.TAIL
            await follows.ask()
            assert (await follows.line()).startswith(b"+FULLRESYNC")
            intake.fail("cut")
            assert await follows.rest() == b"$%d\r\n%b" % (len(data), data[:-HOLD_BACK_BYTES])
            it.feed.append(SET)
            assert await streams.exactly(len(SET)) == SET
        intake.discard()
