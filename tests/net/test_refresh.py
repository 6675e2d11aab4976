"""A second connection for a snapshot, while the main link goes on."""

from __future__ import annotations

from pathlib import Path

import anycrc
import pytest

from repltap.net import refresh as refresh_module
from repltap.net.refresh import SnapshotRefresher
from repltap.rdb.compatibility import Wanted
from repltap.status.refresh import RefreshReason
from tests.net.peers import FakeMaster
from tests.net.refreshing import END, NEW, parts, up
from tests.net.relay import relay
from tests.protocol.ways import MARK
from tests.stored import REPLID, SET, START, held, until

VALKEY = b"VALKEY080\xff" + anycrc.Model("CRC64-REDIS").calc(b"VALKEY080\xff").to_bytes(8, "little")

pytestmark = pytest.mark.usefixtures("quick_refresher")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A history whose snapshot is gone: only those who are near can be served."""
    return held(tmp_path, SET, snapshot=b"")


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


async def test_a_tail_too_long_is_fetched_anew(tmp_path: Path, master: FakeMaster) -> None:
    """Retention removes the snapshot; nobody asks for another one until a replica needs it."""
    held(tmp_path, segment_bytes=1000)
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
