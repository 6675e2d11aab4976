"""Faults of the link, the refresher and the feed, each with the test that shows it mended.

All were found by driving the shells with scripted peers; a line says which script it was.
"""

from __future__ import annotations

import asyncio
import random
import socket
from pathlib import Path
from typing import Any

import pytest

from repltap.config import SentinelConfig
from repltap.endings import FailureReason
from repltap.errors import DiskFullError
from repltap.intake import HOLD_BACK_BYTES, Intake
from repltap.net import setbacks
from repltap.net.attempts import Attempts
from repltap.position import Offset
from repltap.store.history import HistoryStore
from repltap.store.journal import Journal
from repltap.store.snapshot import Snapshot
from repltap.store.snapshots import Snapshots, SnapshotWriter
from repltap.store.store import Store
from tests.net.links import synced
from tests.net.peers import FakeMaster
from tests.net.relay import link, open_feed, port, relay
from tests.protocol.ways import rdb
from tests.stored import (
    HANG_SECONDS,
    OTHER,
    REPLID,
    SET,
    START,
    closed_gate,
    command,
    held,
    open_fds,
    until,
)

END = START + len(SET)
SMALL_STORE: dict[str, Any] = {
    "segment_bytes": 1000,
    "retain_bytes": 2000,
    "pin_limit_bytes": 1 << 20,
}


def held_small(path: Path, stream: bytes = SET, *, snapshot: bytes | None = None) -> None:
    """Leave a history in small segments in the directory."""
    held(path, stream, snapshot=snapshot, segment_bytes=1000)


# -- the link to the master ------------------------------------------------------------------------


async def test_an_impossible_host_name_is_an_error_of_the_link_alone(tmp_path: Path) -> None:
    """Found by REPLICAOF with a label of 64 letters: UnicodeError from the codec ended the link."""
    async with FakeMaster() as master, relay(tmp_path, master.port) as it:
        await master.link()
        it.link.repoint("x" * 64, 6379)
        await until("the error", lambda: "host name" in it.link.status().last_error)
        it.link.repoint("127.0.0.1", master.port)
        await master.link()
        assert not it.task.done()


async def test_links_that_break_at_once_are_tried_again_with_growing_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by a master that continues and hangs up: it was called again without any wait."""
    held_small(tmp_path)
    waits: list[float] = []

    async def note(_attempts: Attempts, seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(Attempts, "wait", note)
    monkeypatch.setattr(random, "uniform", lambda _low, high: high)
    async with (
        FakeMaster() as master,
        link(tmp_path, master.port, backoff_min_seconds=0.2, backoff_max_seconds=1),
    ):
        for _ in range(6):
            peer, _ = await master.asked()
            peer.say(b"+CONTINUE\r\n")
            peer.close()
        assert waits[:5] == pytest.approx([0.4, 0.8, 1, 1, 1])


async def test_starting_afresh_outlives_a_failed_attempt(tmp_path: Path) -> None:
    """Found by a master that continues with other bytes and then loads: it was resumed from."""
    held_small(tmp_path, SET + SET[:11])
    async with FakeMaster() as master, link(tmp_path, master.port):
        peer, _ = await master.asked()
        peer.say(b"+CONTINUE\r\n" + command(b"DEL", b"key") * 5)
        await peer.gone()
        peer = await master.link()
        peer.say(b"-LOADING x\r\n")
        await peer.gone()
        _, asked = await master.asked()
        assert asked == (b"?", b"-1")


async def test_a_reset_is_told_in_words(tmp_path: Path) -> None:
    """Found by a master that resets its connections: the status said [Errno 104]."""
    async with FakeMaster() as master, link(tmp_path, master.port) as it:
        peer, _ = await master.asked()
        peer.reset()
        error = await until("the error", lambda: it.link.status().last_error)
        assert "Errno" not in error


async def test_a_journal_trimmed_while_its_last_command_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by trimming between two steps of the search: NotRetainedError ended the link."""
    held_small(tmp_path, SET * 200, snapshot=b"")
    read = Journal.read

    def trimmed(journal: Journal, start: Offset, size: int) -> bytes:
        journal.trim(Offset(journal.end - 100))
        return read(journal, start, size)

    monkeypatch.setattr(Journal, "read", trimmed)
    async with (
        FakeMaster() as master,
        link(tmp_path, master.port, store={"segment_bytes": 1000}) as it,
    ):
        _, asked = await master.asked()
        assert asked == (REPLID.encode(), b"%d" % (START + 200 * len(SET) + 1))
        assert not it.task.done()


# -- the refresher ---------------------------------------------------------------------------------


async def test_a_refresh_from_the_old_master_ends_with_its_history(tmp_path: Path) -> None:
    """Found by a failover during a refresh: the old master's keys were published as the new one's.

    The old master is ahead of what reached us, and its snapshot holds writes that the promoted
    replica never saw.
    """
    held_small(tmp_path, snapshot=b"")
    async with FakeMaster() as master, FakeMaster() as promoted, relay(tmp_path, master.port) as it:
        main, _ = await master.asked()
        main.say(b"+CONTINUE\r\n")
        await until("the stream", lambda: it.link.streaming_since is not None)
        directory = it.history.snapshots.path
        with await it.replica() as replica:
            await replica.ask(None, 0, b"capa psync2")
            second, _ = await master.asked()
            data = rdb(b"holds writes that the promoted replica never saw" * 9)
            ahead = END + 3 * len(SET)
            second.say(b"+FULLRESYNC %b %d\r\n$%d\r\n" % (REPLID.encode(), ahead, len(data)))
            second.say(data[:50])
            await until("the grant", lambda: it.service.full)
            it.link.repoint("127.0.0.1", promoted.port)
            new, asked = await promoted.asked()
            assert asked[1] == b"%d" % (END + 1)
            new.say(b"+CONTINUE %b\r\n" % OTHER.encode())
            new.say(command(b"SET", b"key", b"other") * 5)
            await it.holds(END + 5 * len(SET))
            second.say(data[50:])
            await until("the end of the part", lambda: not list(directory.glob("*.part")))
            assert list(directory.iterdir()) == []
            assert it.refresher.counts.total() == 0
            got = await replica.rest()
            assert b"FULLRESYNC" in got
            assert data[-HOLD_BACK_BYTES:] not in got  # so nobody can load it


async def test_the_journal_behind_a_refresh_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by writing faster than a refresh arrives: each snapshot came without its tail."""
    monkeypatch.setattr(setbacks, "RETRY_SECONDS", (0.001,) * 3)
    held_small(tmp_path, snapshot=b"")
    async with FakeMaster() as master, relay(tmp_path, master.port, store=SMALL_STORE) as it:
        main, _ = await master.asked()
        main.say(b"+CONTINUE\r\n")
        await until("the stream", lambda: it.link.streaming_since is not None)
        with await it.replica() as replica:
            await replica.ask()
            second, _ = await master.asked()
            end = it.history.journal.end
            second.say(b"+FULLRESYNC %b %d\r\n$%d\r\n" % (REPLID.encode(), end, len(rdb())))
            await until("the part", lambda: list(it.history.snapshots.path.glob("*.part")))
            main.say(SET * 200)
            await it.holds(end + len(SET) * 200)
            await it.feed._retain()
            second.say(rdb())
            assert await replica.snapshot() == (REPLID, end, rdb())
            assert await replica.exactly(200 * len(SET)) == SET * 200
            await until("the refresh", lambda: it.refresher.counts.total() == 1)


async def test_a_snapshot_that_was_broken_off_is_given_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found in review: who asked while its file was deleted waited for its end, with a slot."""
    held_small(tmp_path, snapshot=b"")
    discard = SnapshotWriter.discard
    with closed_gate() as gate:

        def slow(writer: SnapshotWriter) -> None:
            gate.wait()
            discard(writer)

        monkeypatch.setattr(SnapshotWriter, "discard", slow)
        async with FakeMaster() as master, relay(tmp_path, master.port) as it:
            main, _ = await master.asked()
            main.say(b"+CONTINUE\r\n")
            with await it.replica() as first, await it.replica() as second:
                await first.ask(None, 0, b"capa eof")
                other, _ = await master.asked()
                whole = rdb(b"x" * 4000)
                other.say(b"+FULLRESYNC %b %d\r\n" % (REPLID.encode(), END))
                other.say(b"$%d\r\n%b" % (len(whole), whole[:2000]))
                assert (await first.line()).startswith(b"+FULLRESYNC")
                other.close()
                await first.rest()
                await second.ask(None, 0, b"capa eof")
                await second.newline()  # it is held
                gate.set()
                other, _ = await master.asked()
                other.full(REPLID, END, whole)
                assert await second.snapshot() == (REPLID, END, whole)


# -- the feed --------------------------------------------------------------------------------------


async def test_the_journal_behind_a_settling_snapshot_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by a disk that is slow to sync: replicas would get a snapshot without its tail."""
    publish = Intake.publish
    with closed_gate() as gate:

        def slow(intake: Intake) -> Snapshot:
            gate.wait()
            return publish(intake)

        monkeypatch.setattr(Intake, "publish", slow)
        async with port(tmp_path, **SMALL_STORE) as it:
            intake = await it.feed.begin_intake(REPLID, START, origin="a test")
            intake.begin(None)
            intake.write(rdb())
            it.feed.complete_intake(intake, 0)
            it.feed.append(bytes(10_000))
            await it.feed._retain()
            assert it.history.journal.start == START
            gate.set()
            await until("the publication", lambda: it.feed.settling is None)


async def test_a_stream_database_that_is_no_number_is_none(tmp_path: Path) -> None:
    """Found by an aux field of `x`: ValueError in a task ended the relay."""
    async with FakeMaster() as master, relay(tmp_path, master.port) as it:
        peer, _ = await master.asked()
        peer.full(REPLID, START, rdb(b"\xfa\x0erepl-stream-db\x01x"))
        await until("the snapshot", lambda: it.feed.history and it.history.snapshots.all)
        assert it.history.start_db == 0
        assert it.feed._failure is None


async def test_a_shutdown_does_not_wait_for_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by SIGTERM while the disk has no room: the publication was retried for ever."""
    tried: list[HistoryStore] = []

    def full(store: Store, history: HistoryStore) -> None:
        tried.append(history)
        raise DiskFullError("no room", path=store.path)

    feed = open_feed(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(Store, "publish", full)
        intake = await feed.begin_intake(REPLID, START, origin="a test")
        intake.begin(None)
        intake.write(rdb())
        feed.complete_intake(intake, 0)
        await until("the first try", lambda: tried)
        async with asyncio.timeout(HANG_SECONDS):
            await feed.close()
    assert len(tried) <= 2  # the close may try once more


async def test_an_intake_that_can_not_begin_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by a disk without inodes: each try left a history and its descriptors behind."""

    def full(_snapshots: Snapshots, _offset: Offset) -> SnapshotWriter:
        raise DiskFullError("no room", path=tmp_path)

    feed = open_feed(tmp_path)
    before = open_fds()
    with monkeypatch.context() as patched:
        patched.setattr(Snapshots, "begin", full)
        for _ in range(3):
            with pytest.raises(DiskFullError):
                await feed.begin_intake(REPLID, START, origin="a test")
    assert open_fds() == before
    assert list((tmp_path / "histories").iterdir()) == []
    await feed.close()


async def test_a_repoint_does_not_wait_for_a_master_that_can_not_be_reached(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By reading: a machine that is gone takes the whole time for a connection.

    Its failure is not told either, under the name of who is followed now.
    """
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        gone = full.getsockname()
        # Who connects now is not answered: the queue of the listening socket is full.
        queue = [socket.socket() for _ in range(4)]
        for each in queue:
            each.setblocking(False)
            each.connect_ex(gone)
        async with (
            FakeMaster() as master,
            link(tmp_path, gone[1], connect_timeout_seconds=600) as it,
        ):
            await until("it connects", lambda: it.link._connecting is not None)
            await asyncio.sleep(0)
            it.link.repoint("127.0.0.1", master.port)
            await synced(it, master)
            assert it.link.counters.ends == {FailureReason.REPOINTED: 1}
            assert "no connection" not in caplog.text
        for each in queue:
            each.close()


async def test_without_a_master_a_new_password_is_no_reason_to_try(tmp_path: Path) -> None:
    """By reading: it connected to nowhere, and told of that."""
    sentinel = SentinelConfig(addresses=(("127.0.0.1", 1),), master_name="mymaster")
    async with FakeMaster() as master, link(tmp_path, 0, host="", sentinel=sentinel) as it:
        await asyncio.sleep(0)
        it.link.take_credentials(None, "another")
        it.link.try_again()
        for _ in range(10):
            await asyncio.sleep(0)
        assert it.link.status().attempts == 0
        it.link.take_credentials(None, None)
        it.link.repoint("127.0.0.1", master.port)
        await synced(it, master)
