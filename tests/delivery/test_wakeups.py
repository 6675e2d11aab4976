"""Workers are woken once the index covers what has come in, and not for each append."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from repltap.delivery.supervised import SupervisedSink
from repltap.delivery.wakeups import Wakeups
from repltap.feed import Feed
from repltap.store.reader import JournalReader
from tests.feeds import current, opened
from tests.stored import SET, held, until


class FakeSink:
    """A worker that waits when the test says so, and notes what the index covers when woken."""

    def __init__(self, feed: Feed) -> None:
        self.waiting = False
        self.told: object = None
        self.seen: list[int] = []
        self._feed = feed

    def wake(self) -> None:
        if self.waiting:
            self.waiting = False
            self.seen.append(JournalReader(current(self._feed).journal.path).end())


def wait(wakeups: Wakeups, sink: FakeSink) -> None:
    sink.waiting = True
    wakeups.waits(cast(SupervisedSink, sink))


async def woken_once(feed: Feed) -> tuple[FakeSink, Wakeups]:
    """A sink that has been told of what was there already, which may be more than it has seen."""
    sink = FakeSink(feed)
    wakeups = Wakeups(feed, lambda: [cast(SupervisedSink, sink)])
    wait(wakeups, sink)
    await until("the first wake-up", lambda: len(sink.seen) == 1)
    return sink, wakeups


async def test_it_is_woken_for_what_the_index_covers(tmp_path: Path) -> None:
    held(tmp_path)
    async with opened(tmp_path) as feed:
        sink, wakeups = await woken_once(feed)
        wait(wakeups, sink)
        assert wakeups.caught_up(cast(SupervisedSink, sink))
        for _ in range(100):
            feed.append(SET)
        assert not wakeups.caught_up(cast(SupervisedSink, sink))
        await until("the second", lambda: len(sink.seen) == 2)
        assert sink.seen[1] == current(feed).journal.end
        wait(wakeups, sink)
        assert sink.waiting
        wakeups.stop()


async def test_the_index_comes_first_whatever_lies_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pause of 5 ms in an append, and the worker was told of what it could not read yet.

    A stop then took it for one that has read everything. Found by reading.
    """
    held(tmp_path)
    async with opened(tmp_path) as feed:
        sink, wakeups = await woken_once(feed)
        wait(wakeups, sink)
        loop = asyncio.get_running_loop()
        real, wake_idle, ahead = loop.time, feed.readers.wake_idle, 0.0

        def paused() -> None:
            nonlocal ahead
            wake_idle()
            ahead += 0.02

        monkeypatch.setattr(loop, "time", lambda: real() + ahead)
        monkeypatch.setattr(feed.readers, "wake_idle", paused)
        for _ in range(2):  # the index may cover the first at once
            feed.append(SET)
        await until("the second", lambda: len(sink.seen) == 2)
        assert sink.seen[1] == current(feed).journal.end
        wakeups.stop()


async def test_what_comes_while_it_is_busy_is_told_when_it_waits(tmp_path: Path) -> None:
    held(tmp_path)
    async with opened(tmp_path) as feed:
        sink, wakeups = await woken_once(feed)
        feed.append(SET)
        wait(wakeups, sink)
        feed.append(SET)  # after the timer was set: the index may cover it later
        await until("the second", lambda: len(sink.seen) == 2)
        wait(wakeups, sink)
        if sink.seen[-1] != current(feed).journal.end or sink.waiting:
            await until(
                "the rest",
                lambda: wakeups.caught_up(cast(SupervisedSink, sink)) or len(sink.seen) > 2,
            )
        assert sink.seen[-1] == current(feed).journal.end
        wakeups.stop()


async def test_all_are_woken_when_something_else_changes(tmp_path: Path) -> None:
    async with opened(tmp_path) as feed:
        sinks = [FakeSink(feed), FakeSink(feed)]
        wakeups = Wakeups(feed, lambda: cast("list[SupervisedSink]", sinks))
        held_back = sinks[1]
        for sink in sinks:
            sink.wake = lambda sink=sink: setattr(sink, "waiting", False)  # type: ignore[method-assign,misc]
        sinks[0].waiting = held_back.waiting = True
        feed.changed()
        assert not sinks[0].waiting
        assert not held_back.waiting
        wakeups.stop()
