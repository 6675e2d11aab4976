"""A full sync: what is served before, while and after its snapshot becomes durable."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from repltap import feed as feed_module
from repltap.config import FsyncPolicy
from repltap.errors import DataDirError, DiskFullError
from repltap.intake import Intake
from repltap.store.history import HistoryStore
from repltap.store.store import Store
from tests.feeds import AttachedReader, current, histories, opened, stored, take_in
from tests.stored import OTHER, SET, START, closed_gate, held, open_fds


async def test_the_old_history_is_served_until_the_snapshot_is_whole(tmp_path: Path) -> None:
    held(tmp_path, SET)
    async with opened(tmp_path) as feed:
        old = current(feed)
        old_reader = AttachedReader(feed, old)
        told: list[tuple[bool, bool]] = []
        feed.listen(lambda: told.append((feed.intake is not None, feed.history is old)))
        intake = await take_in(feed, OTHER)
        new_reader = AttachedReader(feed, intake.history)
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
        reader = AttachedReader(feed, intake.history)
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
        reader = AttachedReader(feed, intake.history)
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
