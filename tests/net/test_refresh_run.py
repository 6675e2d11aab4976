"""One snapshot over a second connection: passed on while it arrives, whole only when it is sure."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from repltap.errors import DiskFullError, UpstreamError
from repltap.intake import HOLD_BACK_BYTES
from repltap.net.refresh_run import RefreshRun
from repltap.position import Offset
from repltap.store.snapshots import Snapshot, SnapshotWriter
from tests.net.peers import FakeMaster, MasterLink
from tests.net.relay import Link, link
from tests.protocol.ways import rdb
from tests.readers import FakeReader
from tests.stored import OTHER, REPLID, SET, START, closed_gate, held, open_fds, until

END = START + len(SET)
NEW = rdb(b"newer data" * 50)


class Running:
    """A fetch in a task, and its master's end of the second connection."""

    def __init__(self, it: Link, main: MasterLink) -> None:
        self.it = it
        self.main = main
        self.fetch = RefreshRun(
            it.feed,
            it.history,
            it.link,
            listening_port=6380,
            announce="9.1.2",
            wanted=lambda: True,
        )
        self.task: asyncio.Task[Snapshot]
        self.second: MasterLink

    async def grant(self, offset: int = END, data: bytes = NEW) -> None:
        """Let the master send all of `data`, and read it."""
        self.second.full(REPLID, offset, data)
        await until("the whole", lambda: self.fetch.intake and self.fetch.intake.verified)


@asynccontextmanager
async def fetching(path: Path) -> AsyncIterator[Running]:
    held(path, SET, snapshot=b"")
    async with FakeMaster() as master, link(path, master.port) as it:
        main, _ = await master.asked()
        main.say(b"+CONTINUE\r\n")
        await until("the link", lambda: it.link.streaming_since is not None)
        made = Running(it, main)
        made.task = asyncio.get_running_loop().create_task(made.fetch.run())
        made.second, _ = await master.asked()
        try:
            yield made
        finally:
            made.task.cancel()
            await asyncio.wait([made.task])


@asynccontextmanager
async def released(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Running, threading.Event]]:
    """A fetch that has given its readers everything, and waits at a gate to make it durable."""
    sync = SnapshotWriter.sync
    with closed_gate() as gate:

        def slow(writer: SnapshotWriter) -> None:
            gate.wait()
            sync(writer)

        monkeypatch.setattr(SnapshotWriter, "sync", slow)
        async with fetching(path) as it:
            await it.grant()
            intake = it.fetch.intake
            assert intake is not None
            await until("the release", lambda: intake.released)
            yield it, gate


async def test_what_is_asked(tmp_path: Path) -> None:
    async with fetching(tmp_path) as it:
        assert it.second.options[b"rdb-only"] == b"1"
        assert it.second.options[b"version"] == b"9.1.2"
        it.second.full(REPLID, END, NEW)
        snapshot = await it.task
        assert (snapshot.offset, snapshot.size_bytes) == (END, len(NEW))
        assert it.it.history.snapshots.all == (snapshot,)
        assert it.it.feed.readers._pins == {}


async def test_a_server_that_does_not_know_rdb_only(tmp_path: Path) -> None:
    """It takes us for a replica; what it streams after the RDB is not looked at."""
    async with fetching(tmp_path) as it:
        it.second.say(b"+FULLRESYNC %b %d\r\n$%d\r\n" % (REPLID.encode(), END, len(NEW)))
        it.second.say(NEW + SET * 1000)
        snapshot = await it.task
        assert snapshot.path.read_bytes() == NEW
        await it.second.gone()
        it.main.say(SET)  # the main link is not disturbed
        await it.it.holds(END + len(SET))


async def test_its_end_is_withheld_until_the_journal_is_there(tmp_path: Path) -> None:
    async with fetching(tmp_path) as it:
        await it.grant(END + len(SET))
        intake = it.fetch.intake
        assert intake is not None
        assert (intake.visible, intake.size) == (len(NEW) - HOLD_BACK_BYTES, len(NEW))
        assert not it.task.done()
        it.main.say(SET)
        await it.task
        assert intake.visible == len(NEW)


async def test_readers_need_not_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with released(tmp_path, monkeypatch) as (it, gate):
        assert not it.task.done()
        assert not it.it.feed.rename_lock.locked()  # a failover need not wait either
        gate.set()
        await it.task


@pytest.mark.parametrize("what", ["renamed", "replaced", "re-pointed"])
async def test_what_crosses_a_failover_is_never_whole(tmp_path: Path, what: str) -> None:
    async with fetching(tmp_path) as it:
        follower = FakeReader(END)
        # Ahead of the journal: perhaps past the point where the new master took over.
        await it.grant(END + 2 * len(SET))
        intake = it.fetch.intake
        assert intake is not None
        intake.follow(follower)
        if what == "renamed":
            await it.it.feed.resumed(OTHER, Offset(END))
        elif what == "replaced":
            full = await it.it.feed.begin_intake(OTHER, Offset(END), origin="a test")
            full.begin(len(NEW))
            full.write(NEW)
            it.it.feed.complete_intake(full, 0)
        else:
            it.it.link.repoint("127.0.0.1", 1)
        assert not it.fetch.same
        if what == "renamed":
            it.it.feed.append(SET * 3)  # the new master's bytes come past the offset
        with pytest.raises(UpstreamError, match="has changed meanwhile"):
            await it.task
        assert not intake.released
        assert intake.visible == len(NEW) - HOLD_BACK_BYTES
        assert follower.dropped == ["the snapshot that it was being sent was broken off"]
        # What replaces it is made whole in a thread.
        await until(
            "nothing half written", lambda: not list(tmp_path.glob("histories/*/snapshots/*.part"))
        )


async def test_a_failover_while_it_is_made_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its readers had it all before that; the stored one must not be served any more."""
    async with released(tmp_path, monkeypatch) as (it, gate):
        await it.it.feed.resumed(OTHER, Offset(END))
        gate.set()
        with pytest.raises(UpstreamError, match="has changed meanwhile"):
            await it.task
        assert it.it.history.snapshots.all == ()


async def test_a_size_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with fetching(tmp_path) as it:
        monkeypatch.setattr(it.it.feed, "has_room", lambda wanted: wanted < 10_000_000)
        it.second.say(b"+FULLRESYNC %b %d\r\n$10000000\r\n" % (REPLID.encode(), END))
        with pytest.raises(DiskFullError, match="no room for another snapshot"):
            await it.task
        await it.second.gone()


async def test_cancelling_leaves_nothing_behind(tmp_path: Path) -> None:
    async with fetching(tmp_path) as it:
        before = open_fds()
        follower = FakeReader(END)
        it.second.say(b"+FULLRESYNC %b %d\r\n$1000\r\nREDIS0011" % (REPLID.encode(), END))
        intake = await until("the intake", lambda: it.fetch.intake)
        intake.follow(follower)
        it.task.cancel()
        await asyncio.wait([it.task])
        assert it.task.cancelled()
        assert len(follower.dropped) == 1
        assert it.it.feed.readers._pins == {}
        del intake
        it.fetch.intake = None
        left = {line for line in open_fds() - before if "snapshots" in line}
        assert left == set()
        assert not list(tmp_path.glob("histories/*/snapshots/*"))
