"""What a replica is given: partial, full from a stored or an arriving snapshot, or patience."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from repltap.feed import Feed
from repltap.intake import HOLD_BACK_BYTES, Intake
from repltap.net import downstream as downstream_module
from repltap.net import serve as serve_module
from repltap.net import setbacks as setbacks_module
from repltap.position import Offset, ReplId
from repltap.rdb.compatibility import Wanted
from repltap.status.refresh import RefreshReason
from repltap.store.history import HistoryStore
from repltap.store.store import Store
from tests.net.peers import ack
from tests.net.relay import Port, port
from tests.protocol.ways import rdb
from tests.stored import (
    OTHER,
    REPLID,
    SET,
    START,
    add_snapshot,
    closed_gate,
    hold,
    open_store,
    until,
)

END = START + 2 * len(SET)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A data directory with a history of two commands."""
    store = open_store(tmp_path)
    hold(store, SET * 2)
    store.close()
    return tmp_path


@pytest.fixture
def fast_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downstream_module, "_TICK_SECONDS", 0.005)


async def begin(feed: Feed, replid: ReplId = OTHER, *, size: int | None = None) -> Intake:
    intake = await feed.begin_intake(replid, Offset(500), origin="a test")
    intake.begin(size)
    return intake


async def held(it: Port) -> None:
    await until("a held request", lambda: any(s.wait and s.wait.held for s in it.sessions))


# -- partial --------------------------------------------------------------------------------------


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


# -- full, from what is stored ---------------------------------------------------------------------


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


# -- full, from what arrives -----------------------------------------------------------------------


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


# -- full, while another is fetched ----------------------------------------------------------------


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


# -- ahead of the journal --------------------------------------------------------------------------


async def test_a_replica_ahead_continues_when_the_journal_catches_up(
    path: Path, fast_ticks: None
) -> None:
    async with port(path) as it:
        it.upstream.streaming_since = asyncio.get_running_loop().time()
        with await it.replica() as replica:
            await replica.ask(REPLID, END + 4)
            await replica.newline()
            it.feed.append(b"12")
            it.feed.append(b"3456")
            assert await replica.line() == b"+CONTINUE"
            assert await replica.exactly(2) == b"56"
        assert (it.service.partial, it.service.full, it.service.denied) == (1, 0, 0)


async def test_a_replica_that_stays_ahead_holds_other_bytes(
    path: Path, fast_ticks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve_module, "_AHEAD_GRACE_SECONDS", 0.05)
    async with port(path) as it:
        # Long since: the wait counts from the request.
        it.upstream.streaming_since = it.upstream.flowing_since = 0.0
        with await it.replica() as replica:
            await replica.ask(REPLID, END + 4)
            await replica.newline()
            assert await replica.snapshot() == (REPLID, START, rdb())
        assert (it.service.full, it.service.denied) == (1, 1)


async def test_a_replica_ahead_of_a_stream_that_has_not_begun_to_flow_is_held_longer(
    path: Path, fast_ticks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that stalled behind `+CONTINUE` cost it a full sync: three seconds had passed."""
    monkeypatch.setattr(serve_module, "_AHEAD_GRACE_SECONDS", 0.0)
    async with port(path) as it:
        it.upstream.streaming_since = 0.0
        with await it.replica() as replica:
            await replica.ask(REPLID, END + 4)
            for _ in range(2):  # the second a second later
                await replica.newline()
            it.upstream.flowing_since = asyncio.get_running_loop().time()
            it.feed.append(b"1234")
            assert await replica.line() == b"+CONTINUE"
        assert (it.service.partial, it.service.denied) == (1, 0)


async def test_a_replica_ahead_of_a_stream_that_never_flows_is_given_up(
    path: Path, fast_ticks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve_module, "_AHEAD_SILENT_SECONDS", 0.05)
    async with port(path) as it:
        it.upstream.streaming_since = 0.0
        with await it.replica() as replica:
            await replica.ask(REPLID, END + 4)
            assert await replica.snapshot() == (REPLID, START, rdb())


async def test_a_replica_ahead_without_a_master_is_held_then_sent_away(
    path: Path, fast_ticks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps its offset: it asks again, and a master that comes back may have the bytes."""
    monkeypatch.setattr(serve_module, "_AHEAD_GRACE_SECONDS", 0.0)
    monkeypatch.setattr(serve_module, "_AHEAD_LIMIT_SECONDS", 0.05)
    async with port(path) as it:
        with await it.replica() as replica:
            await replica.ask(REPLID, END + 4)
            await replica.newline()
            assert (await replica.line()).startswith(b"-NOMASTERLINK")
            assert (it.service.full, it.service.denied) == (0, 0)
            it.feed.append(b"1234")
            await replica.ask(REPLID, END + 4)  # on the same connection
            assert await replica.line() == b"+CONTINUE"


async def test_a_replica_ahead_while_a_full_sync_arrives(path: Path) -> None:
    async with port(path) as it:
        data = rdb(bytes(500))
        intake = await begin(it.feed, size=len(data))
        intake.write(data[:100])
        with await it.replica() as replica:
            await replica.ask(REPLID, END + 4)
            assert await replica.line() == b"+FULLRESYNC %b 500" % OTHER.encode()


async def test_who_leaves_a_snapshot_unacknowledged_waits_longer_each_time(
    path: Path,
    fast_ticks: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Found by a new user: a replica that could not load it was sent 180 snapshots a second."""
    monkeypatch.setattr(setbacks_module, "RETRY_SECONDS", (0.2, 3600.0))
    async with port(path) as it:
        for _ in range(2):
            with await it.replica() as replica:
                await replica.ask(None, 0, b"listening-port 7777")
                assert (await replica.snapshot())[2] == rdb()
            await until("its end", lambda: not it.sessions)
        assert "gets another in 0.2 s" in caplog.text
        assert "gets another in 3600 s" in caplog.text
        with await it.replica() as again, await it.replica() as other:
            await again.ask(None, 0, b"listening-port 7777")
            await held(it)
            await other.ask(None, 0, b"listening-port 7778")
            assert (await other.snapshot())[2] == rdb()
            assert it.service.full == 3


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
