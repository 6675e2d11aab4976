"""The feed: one appender, readers that are woken or dropped, publication, fsync, retention."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from repltap import feed as feed_module
from repltap.config import FsyncPolicy
from repltap.endings import DisconnectReason
from repltap.errors import DataDirError, DiskFullError, RemoteProtocolError
from repltap.feed import Feed
from repltap.intake import Intake
from repltap.position import Offset, Position, ReplId
from repltap.store.history import HistoryStore
from repltap.store.reader import JournalReader
from repltap.store.store import Store
from tests.protocol.ways import rdb
from tests.stored import (
    OTHER,
    REPLID,
    SET,
    START,
    closed_gate,
    command,
    held,
    hold,
    open_fds,
    open_store,
    store_config,
    until,
)

MULTI = command(b"MULTI")


class FakeReader:
    """Counts what the feed tells it, and detaches when it is dropped, as a session does."""

    def __init__(self, feed: Feed, history: HistoryStore, pin: int = START) -> None:
        self.pin = Offset(pin)
        self.woken = 0
        self.dropped: list[str] = []
        self._leave = lambda: feed.readers.detach(self, history)
        feed.readers.attach(self, history)

    def wake(self) -> None:
        self.woken += 1

    def drop(self, reason: DisconnectReason, detail: str) -> None:
        self.dropped.append(detail)
        self._leave()


@asynccontextmanager
async def opened(
    path: Path, *, segment_bytes: int = 1000, quota_bytes: int | None = None, **changes: object
) -> AsyncIterator[Feed]:
    store = open_store(path, segment_bytes=segment_bytes, quota_bytes=quota_bytes)
    feed = Feed(store, store_config(path, quota_bytes=quota_bytes, **changes))
    try:
        yield feed
    finally:
        await feed.close()


@asynccontextmanager
async def running(feed: Feed) -> AsyncIterator[asyncio.Task[None]]:
    """Run its housekeeping; a failure of it fails the test."""
    task = asyncio.get_running_loop().create_task(feed.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled() and (failure := task.exception()):
        raise failure


def current(feed: Feed) -> HistoryStore:
    assert feed.history is not None
    return feed.history


async def take_in(feed: Feed, replid: str = REPLID, data: bytes | None = None) -> Intake:
    data = rdb() if data is None else data
    intake = await feed.begin_intake(replid, START, origin="a test")  # type: ignore[arg-type]
    intake.begin(len(data))
    intake.write(data)
    return intake


async def stored(feed: Feed) -> None:
    await until("publication", lambda: feed.settling is None)
    await feed._tasks.join()


def histories(path: Path) -> list[str]:
    return sorted(os.listdir(path / "histories"))


# -- where to resume ------------------------------------------------------------------------------


async def test_nothing_held(tmp_path: Path) -> None:
    async with opened(tmp_path) as feed:
        assert feed.history is None
        assert await feed.resume_position() is None
        assert feed.shelf.newest(lambda _: True) is None
        await feed.syncing.sync()


@pytest.mark.parametrize(
    ("stream", "kept"),
    [
        (b"", 0),
        (SET, len(SET)),
        (SET + SET[:-1], len(SET)),
        (SET + MULTI + SET, len(SET)),
        (SET + MULTI + SET + command(b"EXEC"), len(SET + MULTI + SET) + len(command(b"EXEC"))),
    ],
)
async def test_it_resumes_where_a_replica_would(tmp_path: Path, stream: bytes, kept: int) -> None:
    held(tmp_path, stream)
    async with opened(tmp_path) as feed:
        assert await feed.resume_position() == Position(REPLID, Offset(START + kept))


async def test_a_history_is_whole_on_the_disk_before_its_successor_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sink that sees the next one goes on there: found by reading, nothing was ever seen lost."""
    held(tmp_path)
    async with opened(tmp_path) as feed:
        old = current(feed)
        covered: list[int] = []
        publish = HistoryStore.publish

        def watched(history: HistoryStore) -> None:
            publish(history)
            covered.append(JournalReader(old.path / "journal").end())

        monkeypatch.setattr(HistoryStore, "publish", watched)
        feed.append(SET)
        feed.append(SET)  # the index would follow 50 ms later
        feed.complete_intake(await take_in(feed, OTHER), 0)
        await stored(feed)
        assert covered == [START + 2 * len(SET)]


# -- bytes that are sent again --------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 7, 1000])
async def test_replayed_bytes_are_compared_and_not_stored_again(tmp_path: Path, step: int) -> None:
    torn = SET[:20]
    held(tmp_path, SET + torn)
    async with opened(tmp_path) as feed:
        position = await feed.resume_position()
        assert position is not None
        await feed.resumed(REPLID, position.offset)
        again = SET + SET
        for i in range(0, len(again), step):
            feed.append(again[i : i + step])
        assert current(feed).journal.read(START, 1000) == SET * 3


async def test_replayed_bytes_that_differ(tmp_path: Path) -> None:
    held(tmp_path, SET + SET[:20])
    async with opened(tmp_path) as feed:
        await feed.resumed(None, Offset(START + len(SET)))
        feed.append(SET[:5])
        with pytest.raises(RemoteProtocolError, match=f"offset {START + len(SET) + 5} with other"):
            feed.append(b"?" + SET[6:])
        assert current(feed).journal.read(START, 1000) == SET + SET[:20]


async def test_the_link_breaks_while_bytes_are_replayed(tmp_path: Path) -> None:
    held(tmp_path, SET + SET[:20])
    async with opened(tmp_path) as feed:
        at = Offset(START + len(SET))
        await feed.resumed(REPLID, at)
        feed.append(SET[:5])
        await feed.resumed(REPLID, at)
        feed.append(SET)
        assert current(feed).journal.read(START, 1000) == SET + SET


# -- a new replid ---------------------------------------------------------------------------------


async def test_a_new_replid_shifts_the_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(tmp_path, SET + SET[:20])
    async with opened(tmp_path) as feed:
        told: list[bool] = []
        feed.listen(lambda: told.append(feed.shifting))
        reader = FakeReader(feed, current(feed))
        at = Offset(START + len(SET))
        with closed_gate() as gate:
            shift = HistoryStore.shift

            def slow(history: HistoryStore, replid: ReplId, at: Offset) -> None:
                gate.wait()
                shift(history, replid, at)

            monkeypatch.setattr(HistoryStore, "shift", slow)
            feed.append(SET[20:22])
            task = asyncio.get_running_loop().create_task(feed.resumed(OTHER, at))
            await until("the shift", lambda: feed.shifting)
            await feed.syncing.sync()  # keeps off while the files change
            assert current(feed).journal.durable_end == START + len(SET) + 20
            assert told == []
            gate.set()
        await task
        assert not feed.shifting
        assert len(reader.dropped) == 1
        assert "replication id has changed" in reader.dropped[0]
        assert told == [False]
        history = current(feed).history
        assert (history.replid, history.replid2, history.second_offset) == (OTHER, REPLID, at + 1)
        assert current(feed).journal.end == at
        feed.append(b"new")
        assert current(feed).journal.read(START, 1000) == SET + b"new"
        assert await feed.resume_position() == Position(OTHER, Offset(at + 3))


async def test_a_shift_that_fails_ends_the_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(tmp_path, SET)
    async with opened(tmp_path) as feed:

        def full(replid: str, at: int) -> None:
            raise DiskFullError("no room", path=tmp_path)

        monkeypatch.setattr(current(feed), "shift", full)
        with pytest.raises(DiskFullError):
            await feed.resumed(OTHER, START)
        assert not feed.shifting
        assert current(feed).history.replid == REPLID


# -- readers --------------------------------------------------------------------------------------


async def test_waiting_readers_are_woken_once(tmp_path: Path) -> None:
    held(tmp_path)
    async with opened(tmp_path) as feed:
        waits, busy, left = (FakeReader(feed, current(feed)) for _ in range(3))
        feed.readers.wait(waits)
        feed.readers.wait(left)
        feed.readers.detach(left, current(feed))
        feed.append(b"x")
        feed.append(b"y")
        assert (waits.woken, busy.woken, left.woken) == (1, 0, 0)
        feed.readers.wait(waits)
        feed.append(b"z")
        assert waits.woken == 2


async def test_readers_are_woken_by_what_fitted(tmp_path: Path) -> None:
    held(tmp_path)
    async with opened(tmp_path, quota_bytes=5000) as feed:
        reader = FakeReader(feed, current(feed))
        feed.readers.wait(reader)
        with pytest.raises(DiskFullError, match="quota"):
            feed.append(bytes(20_000))
        assert reader.woken == 1
        journal = current(feed).journal
        assert START < journal.end < START + 20_000
        assert journal.disk_bytes <= 5000


async def test_detaching_twice_is_harmless(tmp_path: Path) -> None:
    held(tmp_path)
    async with opened(tmp_path) as feed:
        reader = FakeReader(feed, current(feed))
        feed.readers.detach(reader, current(feed))
        feed.readers.detach(reader, current(feed))
        assert feed.readers._attached == {}


# -- an intake ------------------------------------------------------------------------------------


async def test_the_old_history_is_served_until_the_snapshot_is_whole(tmp_path: Path) -> None:
    held(tmp_path, SET)
    async with opened(tmp_path) as feed:
        old = current(feed)
        old_reader = FakeReader(feed, old)
        told: list[tuple[bool, bool]] = []
        feed.listen(lambda: told.append((feed.intake is not None, feed.history is old)))
        intake = await take_in(feed, OTHER)
        new_reader = FakeReader(feed, intake.history)
        intake.follow(new_reader)
        intake.wait(new_reader)
        assert feed.intake is intake
        assert feed.history is old
        assert not old_reader.dropped
        feed.complete_intake(intake, 0x77)
        assert (feed.intake, feed.settling, feed.history) == (None, intake, intake.history)
        assert "a new history has begun" in old_reader.dropped[0]
        assert (new_reader.woken, new_reader.dropped) == (1, [])
        assert intake.verified
        assert intake.released
        feed.append(b"stream")
        await stored(feed)
        assert told[0] == (True, True)
        assert told[1:] == [(False, False), (False, False)]
        assert [s.crc64 for s in current(feed).snapshots.all] == [0x77]
        assert histories(tmp_path) == ["2-ffffffff"]
    async with opened(tmp_path) as feed:
        assert current(feed).history.replid == OTHER
        assert current(feed).journal.read(START, 10) == b"stream"


@pytest.mark.parametrize("with_old", [False, True])
async def test_an_intake_that_is_cut(tmp_path: Path, with_old: bool) -> None:
    if with_old:
        held(tmp_path, SET)
    async with opened(tmp_path) as feed:
        before = feed.history
        intake = await take_in(feed, OTHER)
        reader = FakeReader(feed, intake.history)
        intake.follow(reader)
        feed.abandon_intake("cut")
        assert (feed.intake, feed.history) == (None, before)
        assert intake.failed
        assert reader.dropped == ["cut"]
        await feed._tasks.join()
        assert histories(tmp_path) == (["1-01234567"] if with_old else [])
        feed.abandon_intake("again: there is none")
        if with_old:
            feed.append(SET)
            assert current(feed).journal.read(START, 1000) == SET * 2


async def test_another_full_sync_while_one_arrives(tmp_path: Path) -> None:
    async with opened(tmp_path) as feed:
        first = await take_in(feed)
        second = await take_in(feed, OTHER)
        assert first.failed
        assert feed.intake is second
        feed.complete_intake(second, 0)
        await stored(feed)
        assert histories(tmp_path) == ["2-ffffffff"]


async def test_a_verified_intake_is_not_abandoned(tmp_path: Path) -> None:
    async with opened(tmp_path) as feed:
        intake = await take_in(feed)
        intake.verify(0)
        feed.abandon_intake("the link broke behind its last byte")
        assert not intake.failed
        feed.complete_intake(intake, 0)
        await stored(feed)


async def test_two_full_syncs_before_the_first_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one settles; what it replaces is removed when both are stored."""
    async with opened(tmp_path) as feed:
        with closed_gate() as gate:
            publish = Store.publish

            def slow(store: Store, history: HistoryStore) -> None:
                gate.wait()
                publish(store, history)

            monkeypatch.setattr(Store, "publish", slow)
            first = await take_in(feed)
            feed.complete_intake(first, 0)
            second = await take_in(feed, OTHER)
            feed.complete_intake(second, 0)
            assert feed.settling is second
            settling: list[Intake | None] = []
            feed.listen(lambda: settling.append(feed.settling))
            gate.set()
        await stored(feed)
        assert histories(tmp_path) == ["2-ffffffff"]
        assert current(feed) is second.history
        assert settling == [second, None]  # the first one's end is not the second one's


async def test_publication_is_tried_again_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(feed_module, "_PUBLISH_RETRY_SECONDS", 0.001)
    publish = Store.publish
    failures = 3

    def full(store: Store, history: HistoryStore) -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise DiskFullError("no room", path=store.path)
        publish(store, history)

    monkeypatch.setattr(Store, "publish", full)
    async with opened(tmp_path) as feed:
        intake = await take_in(feed)
        feed.complete_intake(intake, 0)
        assert feed.settling is intake
        await stored(feed)
        assert failures == -1
        assert caplog.text.count("a restart needs a full sync") == 3
        assert histories(tmp_path) == ["1-01234567"]
    async with opened(tmp_path) as feed:
        assert len(current(feed).snapshots.all) == 1


async def test_a_failed_disk_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(store: Store, history: HistoryStore) -> None:
        raise DataDirError("input/output error", path=store.path)

    monkeypatch.setattr(Store, "publish", broken)
    async with opened(tmp_path, fsync=FsyncPolicy.ALWAYS) as feed:
        task = asyncio.get_running_loop().create_task(feed.run())
        feed.complete_intake(await take_in(feed), 0)
        await asyncio.wait([task])
        with pytest.raises(DataDirError, match="input/output error"):
            task.result()


async def test_closing_with_an_unfinished_intake(tmp_path: Path) -> None:
    before = open_fds()
    async with opened(tmp_path) as feed:
        intake = await take_in(feed)
        reader = FakeReader(feed, intake.history)
        intake.follow(reader)
    assert reader.dropped == ["repltap is shutting down"]
    assert histories(tmp_path) == []
    del intake, reader, feed
    assert open_fds() == before


async def test_closing_while_a_snapshot_settles(tmp_path: Path) -> None:
    before = open_fds()
    async with opened(tmp_path) as feed:
        intake = await take_in(feed)
        feed.complete_intake(intake, 0)
        feed.append(SET)
    del intake, feed
    assert open_fds() == before
    async with opened(tmp_path) as feed:
        assert current(feed).journal.read(START, 1000) == SET


# -- housekeeping ---------------------------------------------------------------------------------


async def test_older_histories_are_removed_at_the_start(tmp_path: Path) -> None:
    held(tmp_path)
    held(tmp_path, replid=OTHER)
    assert len(histories(tmp_path)) == 2
    async with opened(tmp_path) as feed, running(feed):
        await until("removal", lambda: histories(tmp_path) == ["2-ffffffff"])
        assert current(feed).history.replid == OTHER


async def test_older_histories_stay_while_a_sink_needs_them(tmp_path: Path) -> None:
    for digit in "123":
        held(tmp_path, SET, replid=digit * 40)
    async with opened(tmp_path) as feed:
        feed.holds.hold("a", 2, START)
        async with running(feed):
            await until("removal", lambda: histories(tmp_path) == ["2-22222222", "3-33333333"])
            # A full resync of the master comes, and one more before that is durable.
            for replid in ("8" * 40, "9" * 40):
                feed.complete_intake(await take_in(feed, replid), 0)
            await stored(feed)
            assert histories(tmp_path)[:2] == ["2-22222222", "3-33333333"]
            assert [history.number for history in feed.histories()] == [2, 3, 4, 5]
            feed.holds.hold("a", 5, START)
            await until("removal", lambda: histories(tmp_path) == ["5-99999999"])


async def test_all_of_a_history_that_has_ended_can_be_read(tmp_path: Path) -> None:
    held(tmp_path, SET)
    async with opened(tmp_path) as feed:
        feed.holds.hold("a", 1, START)
        old = current(feed)
        feed.append(SET)
        feed.append(SET)
        feed.complete_intake(await take_in(feed, OTHER), 0)
        await stored(feed)
        assert JournalReader(old.journal.path).end() == old.journal.end


async def test_sinks_give_way_where_room_is_wanted(tmp_path: Path) -> None:
    held(tmp_path, bytes(200_000), snapshot=b"")
    held(tmp_path, bytes(1000), replid=OTHER, snapshot=b"")
    async with opened(tmp_path, quota_bytes=400_000) as feed:
        feed.holds.hold("a", 1, START)
        assert await feed.make_room(1000)
        assert len(histories(tmp_path)) == 2
        assert await feed.make_room(300_000)
        assert len(histories(tmp_path)) == 1
        assert feed.holds.lost_bytes["a"] == 200_000
        assert not await feed.make_room(500_000)


async def test_the_index_is_flushed_soon_after(tmp_path: Path) -> None:
    held(tmp_path)
    async with opened(tmp_path, fsync=FsyncPolicy.NO) as feed:
        journal = current(feed).journal
        for _ in range(300):  # segments end in between: the last record is written just now
            feed.append(SET)
            assert feed._index_timer
        await until("the timer", lambda: feed._index_timer is None)
        # Found by a sink that was woken, and did not get the last commands before others came.
        assert JournalReader(journal.path).end() == journal.end


async def test_limits_are_kept_while_bytes_come_in(tmp_path: Path) -> None:
    """As soon as a segment has come, not when the next second is over."""
    held(tmp_path, snapshot=b"")
    async with (
        opened(tmp_path, retain_bytes=2000, pin_limit_bytes=6000, fsync=FsyncPolicy.NO) as feed,
        running(feed),
    ):
        slow = FakeReader(feed, current(feed))
        feed.append(bytes(5000))
        await until("a round", lambda: feed._retain_at > START + 5000)
        assert not slow.dropped
        assert current(feed).journal.start == START
        for _ in range(3):
            feed.append(bytes(500))
        await until("the drop", lambda: slow.dropped)
        await until("room", lambda: current(feed).journal.start > START)
        assert feed.readers._attached == {}


async def test_two_appends_in_a_moment_are_both_durable(tmp_path: Path) -> None:
    """Found by reading: only the first append after an index record asked for its fsync."""
    held(tmp_path)
    async with opened(tmp_path, fsync=FsyncPolicy.ALWAYS) as feed, running(feed):
        journal = current(feed).journal
        for _ in range(2):
            feed.append(SET)
            await until("fsync", lambda: journal.durable_end == journal.end)


async def test_nothing_is_trimmed_while_the_history_shifts(tmp_path: Path) -> None:
    held(tmp_path, snapshot=b"")
    async with opened(tmp_path, retain_bytes=1000, pin_limit_bytes=1000) as feed:
        feed.append(bytes(5000))
        feed.shifting = True
        await feed._retain()
        assert current(feed).journal.start == START
        feed.shifting = False
        await feed._retain()
        assert current(feed).journal.start > START


async def test_room(tmp_path: Path) -> None:
    held(tmp_path)
    room = 80 << 20
    async with opened(tmp_path, quota_bytes=room, segment_bytes=1 << 20) as feed:
        assert feed.data_dir == tmp_path
        assert feed.working_room_bytes == 4 << 20
        assert feed.has_room(70 << 20)
        assert not feed.has_room(room)
        assert feed.free_bytes() < room
        feed.append(bytes(20 << 20))
        assert not feed.has_room(70 << 20)
        assert feed.has_room(feed.working_room_bytes)
    async with opened(tmp_path, min_free_bytes=1 << 60) as feed:
        assert not feed.has_room(1)


async def test_damaged_files_go_before_reading_stops(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(tmp_path, quota_bytes=1 << 20)
    history = hold(store)
    broken = history.journal.path / "00000000000000000050.seg.broken"
    broken.write_bytes(bytes(900_000))
    store.close()
    store = open_store(tmp_path, quota_bytes=1 << 20)
    feed = Feed(store, store_config(tmp_path, quota_bytes=1 << 20))
    assert not feed.has_room(500_000)
    await feed.drop_broken(500_000)
    assert feed.has_room(500_000)
    assert not broken.exists()
    assert "deleted to make room" in caplog.text
    await feed.close()


async def test_damaged_files_that_can_not_be_deleted_end_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Found in review: the link that pauses for want of descriptors ended the process here."""

    def out_of_files(path: Path, pattern: str) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    async with opened(tmp_path) as feed:
        with monkeypatch.context() as patched:
            patched.setattr(Path, "glob", out_of_files)
            await feed.drop_broken(1 << 60)
    assert "Too many open files" in caplog.text
