"""A stored snapshot that is too old, by its tail, its age or a schedule."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from repltap.config import SnapshotConfig
from repltap.net import setbacks
from repltap.status.refresh import RefreshReason
from tests.net.peers import FakeMaster
from tests.net.refreshing import END, NEW, up
from tests.net.relay import WholeRelay, relay
from tests.protocol.ways import MARK, rdb
from tests.stored import REPLID, SET, START, held, until

SHORT_TAIL = SnapshotConfig(max_tail_bytes=len(SET) - 1)

pytestmark = pytest.mark.usefixtures("quick_refresher")


@pytest.fixture
def stale(tmp_path: Path) -> Path:
    """A history with a snapshot and a tail of one command."""
    return held(tmp_path, SET)


def age(it: WholeRelay, seconds: float) -> None:
    """Let the one stored snapshot be so old."""
    (stored,) = it.history.snapshots.all
    it.history.snapshots.all = (replace(stored, created_at=time.time() - seconds),)


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
        age(it, 61)
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
        assert it.refresher._next() is None
        age(it, 3800)
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
    held(tmp_path, b"")
    async with relay(tmp_path, master.port, snapshot=SnapshotConfig(refresh_seconds=60)) as it:
        peer, _ = await master.asked()
        peer.say(b"+CONTINUE\r\n")
        await until("the link", lambda: it.link.streaming_since is not None)
        age(it, 3800)
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
        age(it, 3800)
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
        age(it, 3800)
        second, _ = await master.asked()
        second.close()
        await until("the failure", lambda: it.refresher.failures)
        assert it.refresher._next() is None
        with await it.replica() as replica:  # the stored one is good enough for who asks
            await replica.ask()
            assert (await replica.snapshot())[1] == START
        assert master.accepted == 2
