"""When retention is looked at, and that it can be waited for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from repltap import housekeeping
from repltap.housekeeping import Housekeeping
from repltap.position import Offset
from tests.feeds import current, opened, running
from tests.stored import HANG_SECONDS, held


async def test_it_is_time_when_a_segment_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "_LOOK_SECONDS", 3600.0)
    upkeep = Housekeeping(1000)
    upkeep.begin(Offset(5000))
    upkeep.appended(Offset(5999))
    assert not upkeep.is_due(Offset(5999))
    waiting = asyncio.get_running_loop().create_task(upkeep.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    upkeep.appended(Offset(6000))
    assert upkeep.is_due(Offset(6000))
    await waiting


async def test_it_is_waited_for_as_long_as_it_takes_and_no_longer_than_a_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upkeep = Housekeeping(1000)
    waiting = asyncio.get_running_loop().create_task(upkeep.catch_up())
    await upkeep.wait()  # at once: it was called for
    assert not waiting.done()
    upkeep.done()
    await waiting
    monkeypatch.setattr(housekeeping, "_CATCH_UP_SECONDS", 0.01)
    upkeep.appended(Offset(5000))
    await upkeep.catch_up()  # nobody looks
    # Nor is that waited for again before another segment was written.
    assert not upkeep.is_due(Offset(5999))
    assert upkeep.is_due(Offset(6000))


async def test_a_feed_is_pressed_where_room_is_short_and_what_is_old_not_yet_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "_CATCH_UP_SECONDS", HANG_SECONDS)  # of a busy disk
    held(tmp_path, snapshot=b"")
    limits = {"retain_bytes": 1000, "pin_limit_bytes": 1000}
    async with opened(tmp_path, segment_bytes=20_000, quota_bytes=400_000, **limits) as feed:
        feed.readers.pins = lambda: iter(())  # type: ignore[method-assign]
        start = current(feed).journal.start
        while not feed.pressed:
            feed.append(bytes(5000))
        assert feed.has_room(feed.working_room_bytes)
        async with running(feed):
            await feed.upkeep.catch_up()
            assert not feed.pressed
            assert current(feed).journal.start > start
            for _ in range(200):
                feed.append(bytes(5000))
                if feed.pressed:
                    await feed.upkeep.catch_up()
        assert current(feed).journal.end > 1_000_000
