"""What the feed does by itself: old histories, fsync, limits, room."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from repltap.config import FsyncPolicy
from repltap.feed import Feed
from repltap.store.reader import JournalReader
from tests.feeds import AttachedReader, current, histories, opened, running, stored, take_in
from tests.stored import OTHER, SET, START, held, hold, open_store, store_config, until


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
        slow = AttachedReader(feed, current(feed))
        feed.append(bytes(5000))
        await until("a round", lambda: not feed.upkeep.is_due(START + 5000))
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
