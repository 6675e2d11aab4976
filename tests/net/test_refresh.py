"""A second connection for a snapshot, while the main link goes on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import anycrc
import pytest

from repltap.errors import DataDirError
from repltap.intake import Intake
from repltap.net import refresh as refresh_module
from tests.net.peers import FakeMaster, MasterLink
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
    monkeypatch.setattr(refresh_module, "_RETRY_SECONDS", (0.001, 0.002, 0.003))


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
        assert it.refresher.refreshes == 1
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
            assert it.refresher.refreshes == 0
            assert it.history.snapshots.all == ()
            main.say(SET + SET)
            assert await replica.snapshot() == (REPLID, END + len(SET), NEW)
            assert await replica.exactly(len(SET)) == SET
        assert it.history.snapshots.all[0].offset == END + len(SET)


async def test_a_snapshot_that_the_journal_never_reaches(
    path: Path,
    master: FakeMaster,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(refresh_module, "_CATCH_UP_SECONDS", 0.02)
    async with relay(path, master.port) as it:
        await up(it, master)
        with await it.replica() as replica:
            await replica.ask()
            second, _ = await master.asked()
            second.full(REPLID, END + 1000, NEW)
            third, _ = await master.asked()  # tried again: the replica still waits
            assert parts(it) == []
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
            await eight.ask(None, 0, b"version 8.1.0")
            third, _ = await master.asked()
            assert b"version" not in third.options
            third.full(REPLID, END, NEW)
            assert (await eight.snapshot())[2] == NEW
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
        with await it.replica() as replica:
            await replica.ask()
            second, _ = await master.asked()
            second.say(part)
            second.close()
            third, _ = await master.asked()
            assert "snapshot refresh failed" in caplog.text
            assert parts(it) == []
            assert it.history.snapshots.all == ()
            third.full(REPLID, END, NEW)
            assert await replica.snapshot() == (REPLID, END, NEW)
        main.say(SET)
        await it.holds(END + len(SET))
        assert it.refresher.refreshes == 1


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
    sleep = asyncio.sleep

    async def counted(seconds: float) -> None:
        nonlocal waits
        waits += 1
        await sleep(seconds)

    async with relay(path, master.port) as it:
        peer, _ = await master.asked()  # not answered yet
        monkeypatch.setattr(refresh_module.asyncio, "sleep", counted)
        with await it.replica() as replica:
            await replica.ask()
            await until("waits", lambda: waits > 5)
            assert master.accepted == 1
            peer.say(b"+CONTINUE\r\n")
            second, _ = await master.asked()
            second.full(REPLID, END, NEW)
            await replica.snapshot()
        monkeypatch.undo()


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
            assert await replica.snapshot() == (OTHER, 500, rdb())
            second.say(b"\1" * 1000)
            await second.gone()
            assert it.refresher.refreshes == 0


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
            for _ in range(2):
                link, _ = await master.asked()
                link.full(REPLID, END, NEW)
            assert await replica.snapshot() == (REPLID, END, NEW)
            assert "input/output error" in caplog.text
            assert parts(it) == []


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
        await until("the refresh", lambda: it.refresher.refreshes)
        assert it.refresher._wanted == {}
        assert not it.refresher._signal.is_set()


async def test_requests_are_bounded(path: Path, master: FakeMaster) -> None:
    async with relay(path, master.port) as it:
        for number in range(100):
            it.refresher.request(f"9.0.{number}", "a test")
            it.refresher.request(f"9.0.{number}", "again")
        assert len(it.refresher._wanted) <= 16
