"""A refresh that fails: what is left behind, who is told, and when it is tried again."""

from __future__ import annotations

from pathlib import Path

import pytest

from repltap.errors import DataDirError
from repltap.intake import Intake
from repltap.net import refresh_run
from tests.net.peers import FakeMaster
from tests.net.refreshing import END, NEW, begin_snapshot, parts, up, without_end
from tests.net.relay import relay
from tests.protocol.ways import rdb
from tests.stored import OTHER, REPLID, SET, held, open_fds, until

pytestmark = pytest.mark.usefixtures("quick_refresher")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A history whose snapshot is gone: only those who are near can be served."""
    return held(tmp_path, SET, snapshot=b"")


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


@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"+FULLRESYNC %b %d\r\n$100\r\nREDIS0011" % (REPLID.encode(), END),
        b"+FULLRESYNC %b %d\r\n$%d\r\n%b"
        % (REPLID.encode(), END, len(NEW), rdb(b"newer data", checksum="wrong")),
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
            await begin_snapshot(it, second)
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
            await begin_snapshot(it, second)
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
                await begin_snapshot(it, second)
                directory = it.history.snapshots.path
        await second.gone()
    assert list(directory.iterdir()) == []
    del it, replica, second
    assert open_fds() == before
