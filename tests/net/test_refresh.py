"""A second connection for a snapshot, while the main link goes on."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anycrc
import pytest

from repltap.config import SnapshotConfig
from repltap.errors import DataDirError
from repltap.intake import HOLD_BACK_BYTES, Intake
from repltap.net import refresh as refresh_module
from repltap.net import refresh_run, setbacks
from repltap.net.refresh import SnapshotRefresher
from repltap.rdb.compatibility import Wanted
from repltap.status.refresh import RefreshReason
from tests.net.peers import FakeMaster, FakeReplica, MasterLink
from tests.net.relay import WholeRelay, relay
from tests.protocol.ways import MARK, rdb
from tests.stored import OTHER, REPLID, SET, START, hold, open_fds, open_store, until

END = START + len(SET)
NEW = rdb(b"newer data")
VALKEY = b"VALKEY080\xff" + anycrc.Model("CRC64-REDIS").calc(b"VALKEY080\xff").to_bytes(8, "little")


@pytest.fixture
async def master() -> AsyncIterator[FakeMaster]:
    async with FakeMaster() as made:
        yield made


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setbacks, "RETRY_SECONDS", (0.001, 0.002, 0.003))
    monkeypatch.setattr(refresh_module, "_POLL_SECONDS", 0.01)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A history whose snapshot is gone: only those who are near can be served."""
    store = open_store(tmp_path)
    hold(store, SET, snapshot=b"")
    store.close()
    return tmp_path


async def up(it: WholeRelay, master: FakeMaster) -> MasterLink:
    """Bring the main link up by partial resync."""
    peer, asked = await master.asked()
    assert asked == (REPLID.encode(), b"%d" % (END + 1))
    peer.say(b"+CONTINUE\r\n")
    await until("the link", lambda: it.link.streaming_since is not None)
    return peer


async def without_end(replica: FakeReplica, data: bytes) -> None:
    """Read to the end of the connection: it must not have been sent all of the snapshot."""
    got = await replica.rest()
    assert b"+FULLRESYNC" in got
    assert data[-HOLD_BACK_BYTES:] not in got


def parts(it: WholeRelay) -> list[str]:
    return [name for name in os.listdir(it.history.snapshots.path) if name.endswith(".part")]


async def test_one_refresh_for_all_who_wait(path: Path, master: FakeMaster) -> None:
    async with relay(path, master.port) as it:
        main = await up(it, master)
        replicas = [await it.replica() for _ in range(5)]
        for replica in replicas:
            await replica.ask()
            await replica.newline()
        second, asked = await master.asked()
        assert asked == (b"?", b"-1")
        assert second.options[b"rdb-only"] == b"1"
        assert b"version" not in second.options
        main.say(SET)  # the stream goes on meanwhile
        await it.holds(END + len(SET))
        second.full(REPLID, END, NEW)
        for replica in replicas:
            assert await replica.snapshot() == (REPLID, END, NEW)
            assert await replica.exactly(len(SET)) == SET
            replica.sock.close()
        await second.gone()
        await until("the refresh", lambda: it.refresher.counts.total() == 1)
        assert master.accepted == 2
        assert it.link.counters.full_resyncs == 0
        assert it.service.full == 5
        assert parts(it) == []
        # Those who come later are served from it.
        with await it.replica() as late:
            await late.ask()
            assert await late.snapshot() == (REPLID, END, NEW)
        assert master.accepted == 2


async def test_a_snapshot_ahead_of_the_journal_waits_for_it(path: Path, master: FakeMaster) -> None:
    async with relay(path, master.port) as it:
        main = await up(it, master)
        with await it.replica() as replica:
            await replica.ask()
            second, _ = await master.asked()
            second.full(REPLID, END + len(SET), NEW)
            await second.gone()
            assert it.refresher.counts.total() == 0
            assert it.history.snapshots.all == ()
            assert it.service.full == 1  # it has all but the end
            main.say(SET + SET)
            assert await replica.snapshot() == (REPLID, END + len(SET), NEW)
            assert await replica.exactly(len(SET)) == SET
        stored = await until("the snapshot", lambda: it.history.snapshots.all)
        assert stored[0].offset == END + len(SET)


async def test_a_snapshot_that_the_journal_never_reaches(
    path: Path,
    master: FakeMaster,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(refresh_run, "_CATCH_UP_SECONDS", 0.02)
    async with relay(path, master.port) as it:
        await up(it, master)
        with await it.replica() as replica:
            await replica.ask()
            second, _ = await master.asked()
            second.full(REPLID, END + 1000, NEW)
            await until("the end of the part", lambda: it.refresher.failures)
            assert parts(it) == []
            await without_end(replica, NEW)
        with await it.replica() as replica:
            await replica.ask()
            third, _ = await master.asked()
            third.full(REPLID, END, NEW)
            assert await replica.snapshot() == (REPLID, END, NEW)
        assert f"has not reached offset {END + 1000} within 0.02 s" in caplog.text


async def test_an_end_mark(path: Path, master: FakeMaster) -> None:
    async with relay(path, master.port) as it:
        await up(it, master)
        with await it.replica() as replica:
            await replica.ask()
            second, _ = await master.asked()
            second.say(b"+FULLRESYNC %b %d\r\n$EOF:%b\r\n" % (REPLID.encode(), END, MARK))
            second.say(NEW + MARK)
            assert await replica.snapshot() == (REPLID, END, NEW)


async def test_the_format_is_chosen_for_the_replica(path: Path, master: FakeMaster) -> None:
    """A Valkey 9 gets its own; one that could not load it asks for another."""
    async with relay(path, master.port) as it:
        await up(it, master)
        with await it.replica() as nine, await it.replica() as eight:
            await nine.ask(None, 0, b"version 9.1.2")
            second, _ = await master.asked()
            assert second.options[b"version"] == b"9.1.2"
            second.full(REPLID, END, VALKEY)
            assert (await nine.snapshot())[2] == VALKEY
            await until("the refresh", it.refresher.counts.total)
            await eight.ask(None, 0, b"version 8.1.0")
            third, _ = await master.asked()
            assert b"version" not in third.options
            third.full(REPLID, END, NEW)
            assert (await eight.snapshot())[2] == NEW
        await until("both", lambda: it.refresher.counts.total() == 2)
        assert it.refresher.counts == {"no_snapshot": 1, "format": 1}
        formats = {snapshot.format for snapshot in it.history.snapshots.all}
        assert formats == {"VALKEY080", "REDIS0011"}


@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"+FULLRESYNC %b 5\r\n$100\r\nREDIS0011" % REPLID.encode(),
        b"+FULLRESYNC %b 5\r\n$%d\r\n%b"
        % (REPLID.encode(), len(NEW), rdb(b"newer data", checksum="wrong")),
        b"+FULLRESYNC %b %d\r\n$%d\r\n%b" % (OTHER.encode(), END, len(NEW), NEW),
    ],
    ids=["nothing", "loading", "half", "wrong checksum", "another history"],
)
async def test_a_refresh_that_fails_is_tried_again(
    path: Path, master: FakeMaster, part: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with relay(path, master.port) as it:
        main = await up(it, master)
        replica = await it.replica()
        await replica.ask()
        second, _ = await master.asked()
        second.say(part)
        second.close()
        await until("the failure", lambda: it.refresher.failures)
        assert "snapshot refresh failed" in caplog.text
        failed = it.refresher.failure
        assert failed is not None
        assert failed.reason == "no_snapshot"
        assert failed.message in caplog.text
        assert failed.next_try_at > failed.at
        assert parts(it) == []
        assert it.history.snapshots.all == ()
        if it.service.full:  # it was being sent what came: it is dropped, and asks again
            await without_end(replica, NEW)
            replica.sock.close()
            replica = await it.replica()
            await replica.ask()
        with replica:
            third, _ = await master.asked()
            third.full(REPLID, END, NEW)
            assert await replica.snapshot() == (REPLID, END, NEW)
        main.say(SET)
        await it.holds(END + len(SET))
        await until("the refresh", lambda: it.refresher.counts.total() == 1)
        assert it.refresher.failure is None


async def test_failures_in_a_row_wait_longer(
    path: Path, master: FakeMaster, caplog: pytest.LogCaptureFixture
) -> None:
    async with relay(path, master.port) as it:
        await up(it, master)
        with await it.replica() as replica:
            await replica.ask()
            for _ in range(4):
                link = await master.link()
                link.close()
            (await master.asked())[0].full(REPLID, END, NEW)
            await replica.snapshot()
        waits = [word for word in ("0.001 s", "0.002 s", "0.003 s") if word in caplog.text]
        assert waits == ["0.001 s", "0.002 s", "0.003 s"]
        assert caplog.text.count("again in 0.003 s") == 2


async def test_nobody_is_asked_while_the_link_is_down(
    path: Path, master: FakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = 0
    pause = SnapshotRefresher._pause

    async def counted(refresher: SnapshotRefresher) -> None:
        nonlocal waits
        waits += 1
        await pause(refresher)

    monkeypatch.setattr(SnapshotRefresher, "_pause", counted)
    async with relay(path, master.port) as it:
        peer, _ = await master.asked()  # not answered yet
        with await it.replica() as replica:
            await replica.ask()
            await until("waits", lambda: waits > 5)
            assert master.accepted == 1
            peer.say(b"+CONTINUE\r\n")
            second, _ = await master.asked()
            second.full(REPLID, END, NEW)
            await replica.snapshot()


async def test_no_room_for_another_snapshot(
    path: Path,
    master: FakeMaster,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with relay(path, master.port) as it:
        await up(it, master)
        with await it.replica() as replica:
            await replica.ask()
            second, _ = await master.asked()
            second.say(b"+FULLRESYNC %b %d\r\n$1000\r\nREDIS0011" % (REPLID.encode(), END))
            await until("the part", lambda: parts(it))
            # The main link looks too: it must not be the one that is asked first.
            monkeypatch.setattr(it.link, "tick", lambda: None)
            monkeypatch.setattr(it.feed, "has_room", lambda wanted=0: False)
            await second.gone()
            await until("the reason", lambda: "no room for another snapshot" in caplog.text)
            assert not parts(it)
            assert master.accepted == 2
            await replica.rest()
        with await it.replica() as replica:
            await replica.ask()
            await replica.newline()
            assert master.accepted == 2
            monkeypatch.undo()
            third, _ = await master.asked()
            third.full(REPLID, END, NEW)
            await replica.snapshot()


async def test_a_full_sync_of_the_main_link_ends_the_wait(path: Path, master: FakeMaster) -> None:
    """The history ends while its snapshot is fetched: what replaces it is served."""
    async with relay(path, master.port) as it:
        main = await up(it, master)
        with await it.replica() as replica:
            await replica.ask()
            second, _ = await master.asked()
            second.say(b"+FULLRESYNC %b %d\r\n$1000\r\nREDIS0011" % (REPLID.encode(), END))
            await until("the part", lambda: parts(it))
            main.close()
            main, _ = await master.asked()
            main.full(OTHER, 500)
            await replica.rest()
            with await it.replica() as again:
                await again.ask()
                assert await again.snapshot() == (OTHER, 500, rdb())
            second.say(b"\1" * 1000)
            await second.gone()
            assert it.refresher.counts.total() == 0


async def test_a_tail_too_long_is_fetched_anew(tmp_path: Path, master: FakeMaster) -> None:
    """Retention removes the snapshot; nobody asks for another one until a replica needs it."""
    store = open_store(tmp_path, segment_bytes=1000)
    hold(store)
    store.close()
    limits = {"segment_bytes": 1000, "retain_bytes": 2000, "pin_limit_bytes": 3000}
    async with relay(tmp_path, master.port, store=limits) as it:
        peer, _ = await master.asked()
        peer.say(b"+CONTINUE\r\n" + SET * 200)
        end = START + len(SET) * 200
        await it.holds(end)
        await it.feed._retain()
        assert it.history.snapshots.all == ()
        assert master.accepted == 1
        with await it.replica() as replica:
            await replica.ask()
            second, _ = await master.asked()
            second.full(REPLID, end, NEW)
            assert await replica.snapshot() == (REPLID, end, NEW)


async def test_a_broken_store_is_not_a_failed_refresh(
    path: Path,
    master: FakeMaster,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Publishing fails once: the file goes, the replica waits for the next try."""
    publish = Intake.publish
    failures = 1

    def broken(intake: Intake) -> object:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise DataDirError("input/output error", path=path)
        return publish(intake)

    monkeypatch.setattr(Intake, "publish", broken)
    async with relay(path, master.port) as it:
        await up(it, master)
        with await it.replica() as replica:
            await replica.ask()
            link, _ = await master.asked()
            link.full(REPLID, END, NEW)
            # It was right, and is sent to its end although it could not be kept.
            assert await replica.snapshot() == (REPLID, END, NEW)
            await until("the failure", lambda: "input/output error" in caplog.text)
            assert parts(it) == []
            with await it.replica() as second:
                await second.ask()
                link, _ = await master.asked()
                link.full(REPLID, END, NEW)
                assert await second.snapshot() == (REPLID, END, NEW)


async def test_stopping_in_the_middle_leaves_nothing_behind(path: Path) -> None:
    before = open_fds()
    async with FakeMaster() as master:
        async with relay(path, master.port) as it:
            await up(it, master)
            with await it.replica() as replica:
                await replica.ask()
                second, _ = await master.asked()
                second.say(b"+FULLRESYNC %b %d\r\n$1000\r\nREDIS0011" % (REPLID.encode(), END))
                await until("the part", lambda r=it: parts(r))
                directory = it.history.snapshots.path
        await second.gone()
    assert list(directory.iterdir()) == []
    del it, replica, second
    assert open_fds() == before


async def test_a_replica_that_left_costs_at_most_one_refresh(
    path: Path, master: FakeMaster
) -> None:
    async with relay(path, master.port) as it:
        await up(it, master)
        with await it.replica() as replica:
            await replica.ask()
            await replica.newline()
        second, _ = await master.asked()
        second.full(REPLID, END, NEW)
        await until("the refresh", it.refresher.counts.total)
        await until("rest", lambda: not it.refresher._requests)
        assert it.refresher.status() is None


async def test_requests_are_bounded(path: Path, master: FakeMaster) -> None:
    async with relay(path, master.port) as it:
        for number in range(100):
            for waiter in (1, 2):
                it.refresher.request(Wanted(f"9.0.{number}"), RefreshReason.FORMAT, waiter)
        assert len(it.refresher._requests) <= 16


# -- a stored one that is too old ------------------------------------------------------------------


@pytest.fixture
def stale(tmp_path: Path) -> Path:
    """A history with a snapshot and a tail of one command."""
    store = open_store(tmp_path)
    hold(store, SET)
    store.close()
    return tmp_path


SHORT_TAIL = SnapshotConfig(max_tail_bytes=len(SET) - 1)


async def test_a_long_tail_is_not_sent_while_another_can_be_had(
    stale: Path, master: FakeMaster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "repltap.upstream")
    async with relay(stale, master.port, snapshot=SHORT_TAIL) as it:
        main = await up(it, master)
        replicas = [await it.replica() for _ in range(3)]
        for replica in replicas:
            await replica.ask(None, 0, b"listening-port 6379")  # all behind one address
            await replica.newline()
        second, _ = await master.asked()
        await until("all three", lambda: it.refresher._count_waiters() == 3)
        status = it.refresher.status()
        assert status is not None
        assert (status.reason, status.waiters, status.receivers) == (RefreshReason.TAIL, 3, 0)
        assert status.offset is None
        second.say(b"+FULLRESYNC %b %d\r\n$%d\r\n" % (REPLID.encode(), END, len(NEW)))
        second.say(NEW[:20])
        await until("the grants", lambda: it.service.full == 3)
        shown = it.refresher.status()
        assert shown is not None
        assert (shown.offset, shown.received_bytes, shown.total_bytes) == (END, 20, len(NEW))
        assert shown.receivers == 3
        second.say(NEW[20:])
        for replica in replicas:
            assert await replica.snapshot() == (REPLID, END, NEW)
            replica.sock.close()
        await until("the refresh", lambda: it.refresher.counts == {"tail": 1})
        assert "much journal follows" in caplog.text
        assert "3 replicas were sent it while it arrived" in caplog.text
        assert it.refresher.status() is None
        # Retention keeps the newest; who comes now is served from it.
        main.say(SET[:5])
        await it.holds(END + 5)
        with await it.replica() as late:
            await late.ask()
            assert await late.snapshot() == (REPLID, END, NEW)
        assert master.accepted == 2


async def test_the_old_one_is_sent_while_the_master_is_away(
    stale: Path, master: FakeMaster
) -> None:
    async with relay(stale, master.port, snapshot=SHORT_TAIL) as it:
        await master.asked()  # and never answers
        with await it.replica() as replica:
            await replica.ask()
            assert await replica.snapshot() == (REPLID, START, rdb())
            assert await replica.exactly(len(SET)) == SET
        assert master.accepted == 1


async def test_the_old_one_is_sent_after_a_failed_refresh(
    stale: Path, master: FakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setbacks, "RETRY_SECONDS", (1000.0,))
    async with relay(stale, master.port, snapshot=SHORT_TAIL) as it:
        await up(it, master)
        with await it.replica() as waits, await it.replica() as follows, await it.replica() as late:
            await waits.ask()  # can't take it without a size
            await waits.newline()
            await follows.ask(None, 0, b"capa eof")
            second, _ = await master.asked()
            second.say(b"+FULLRESYNC %b %d\r\n$EOF:%b\r\n" % (REPLID.encode(), END, MARK))
            second.say(rdb(bytes(500))[:300])
            await until("the grant", lambda: it.service.full)
            second.close()
            assert await waits.snapshot() == (REPLID, START, rdb())
            assert b"$EOF:" in await follows.rest()
            await late.ask(None, 0, b"capa eof")
            assert await late.snapshot() == (REPLID, START, rdb())
        assert master.accepted == 2  # nobody asked the master again
        assert (it.refresher.counts, it.refresher.failures) == ({}, 1)


async def test_the_old_one_is_sent_while_there_is_no_room(
    stale: Path, master: FakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with relay(stale, master.port, snapshot=SHORT_TAIL) as it:
        await up(it, master)
        monkeypatch.setattr(it.link, "tick", lambda: None)
        monkeypatch.setattr(it.feed, "has_room", lambda wanted=0: False)
        with await it.replica() as replica:
            await replica.ask()
            assert await replica.snapshot() == (REPLID, START, rdb())
        monkeypatch.undo()


async def test_what_came_after_the_request_is_good_enough(stale: Path, master: FakeMaster) -> None:
    """However much was written meanwhile: else one that can't take a mark would wait for ever."""
    config = SnapshotConfig(max_tail_bytes=0)
    async with relay(stale, master.port, snapshot=config) as it:
        main = await up(it, master)
        with await it.replica() as replica:
            await replica.ask()
            second, _ = await master.asked()
            second.say(b"+FULLRESYNC %b %d\r\n$EOF:%b\r\n" % (REPLID.encode(), END, MARK))
            second.say(NEW)
            main.say(SET * 100)
            await it.holds(END + 100 * len(SET))
            second.say(MARK)
            assert await replica.snapshot() == (REPLID, END, NEW)
            assert await replica.exactly(100 * len(SET)) == SET * 100
        assert master.accepted == 2


async def test_an_old_snapshot_by_its_age(stale: Path, master: FakeMaster) -> None:
    async with relay(stale, master.port, snapshot=SnapshotConfig(max_age_seconds=60)) as it:
        await up(it, master)
        (stored,) = it.history.snapshots.all
        it.history.snapshots.all = (replace(stored, created_at=time.time() - 61),)
        with await it.replica() as replica:
            await replica.ask()
            second, _ = await master.asked()
            second.full(REPLID, END, NEW)
            assert await replica.snapshot() == (REPLID, END, NEW)
        await until("the refresh", lambda: it.refresher.counts == {"age": 1})


async def test_on_schedule(stale: Path, master: FakeMaster) -> None:
    """Also with nobody there; the next one a period after it."""
    config = SnapshotConfig(refresh_seconds=3600)
    async with relay(stale, master.port, snapshot=config) as it:
        await up(it, master)
        (stored,) = it.history.snapshots.all
        assert it.refresher._next() is None
        it.history.snapshots.all = (replace(stored, created_at=time.time() - 3800),)
        second, _ = await master.asked()
        assert second.options[b"version"] == b"9.1.2"  # as the main link: what it would send
        second.full(REPLID, END, NEW)
        await until("the refresh", lambda: it.refresher.counts == {"schedule": 1})
        assert it.refresher._next() is None
        assert master.accepted == 2


async def test_nothing_is_fetched_on_schedule_while_nothing_is_written(
    tmp_path: Path, master: FakeMaster
) -> None:
    """Found by attack: a master that sent no pings was made to fork ten times a second."""
    store = open_store(tmp_path)
    hold(store, b"")
    store.close()
    async with relay(tmp_path, master.port, snapshot=SnapshotConfig(refresh_seconds=60)) as it:
        peer, _ = await master.asked()
        peer.say(b"+CONTINUE\r\n")
        await until("the link", lambda: it.link.streaming_since is not None)
        (stored,) = it.history.snapshots.all
        it.history.snapshots.all = (replace(stored, created_at=time.time() - 3800),)
        assert it.refresher._next() is None
        peer.say(SET)
        await it.holds(END)
        second, _ = await master.asked()
        second.close()


async def test_a_master_that_has_none_that_is_newer_is_left_alone(
    stale: Path, master: FakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by attack: a relay was asked for its stored snapshot without a pause by one below."""
    monkeypatch.setattr(setbacks, "RETRY_SECONDS", (1000.0,))
    async with relay(stale, master.port, snapshot=SnapshotConfig(refresh_seconds=60)) as it:
        await up(it, master)
        (stored,) = it.history.snapshots.all
        it.history.snapshots.all = (replace(stored, created_at=time.time() - 3800),)
        second, _ = await master.asked()
        second.full(REPLID, START, rdb())
        await until("the failure", lambda: it.refresher.failures)
        assert it.refresher._next() is None
        with await it.replica() as replica:
            await replica.ask()
            assert (await replica.snapshot())[1] == START
        assert master.accepted == 2


async def test_a_schedule_that_fails_waits(
    stale: Path, master: FakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setbacks, "RETRY_SECONDS", (1000.0,))
    async with relay(stale, master.port, snapshot=SnapshotConfig(refresh_seconds=3600)) as it:
        await up(it, master)
        (stored,) = it.history.snapshots.all
        it.history.snapshots.all = (replace(stored, created_at=time.time() - 3800),)
        second, _ = await master.asked()
        second.close()
        await until("the failure", lambda: it.refresher.failures)
        assert it.refresher._next() is None
        with await it.replica() as replica:  # the stored one is good enough for who asks
            await replica.ask()
            assert (await replica.snapshot())[1] == START
        assert master.accepted == 2


async def test_who_has_gone_is_not_fetched_for(
    path: Path, master: FakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh_module, "_LAPSE_SECONDS", 0.0)
    async with relay(path, master.port) as it:
        peer, _ = await master.asked()  # not answered yet
        with await it.replica() as replica:
            await replica.ask()
            await replica.newline()
        await until("the end", lambda: not it.downstream._sessions)
        await until("no requests", lambda: not it.refresher._requests)
        peer.say(b"+CONTINUE\r\n")
        await until("the link", lambda: it.link.streaming_since is not None)
        assert it.refresher._next() is None


async def test_nobody_waits_for_it_any_more(
    path: Path, master: FakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by the soak: a stranger who had gone kept a relay above fetching, each five minutes."""
    async with relay(path, master.port) as it:
        await up(it, master)
        with await it.replica() as stranger:
            await stranger.ask()
            second, asked = await master.asked()
            assert asked == (b"?", b"-1")
        monkeypatch.setattr(refresh_module, "_LAPSE_SECONDS", 0.01)
        await second.gone()
        await until("its end", lambda: it.refresher.status() is None)
        assert it.refresher.failures == 0
        assert it.link.streaming_since is not None
        monkeypatch.undo()
        with await it.replica() as replica:
            await replica.ask()
            third, _ = await master.asked()
            third.full(REPLID, END, NEW)
            assert await replica.snapshot() == (REPLID, END, NEW)


async def test_a_sink_is_served_like_a_replica_that_loads_anything(
    path: Path, master: FakeMaster
) -> None:
    async with relay(path, master.port) as it:
        await up(it, master)
        for sink in (-1, -2):
            it.refresher.want_for_sink(sink)
        second, _ = await master.asked()
        second.full(REPLID, END, NEW)
        await second.gone()
        await until("the refresh", lambda: it.refresher.counts.total() == 1)
        assert it.refresher.counts == {"sink": 1}
        assert it.feed.shelf.newest(lambda _: True) is not None
