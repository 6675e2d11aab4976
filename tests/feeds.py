"""Feeds over stores in directories of tests, and what flows into them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from repltap.endings import DisconnectReason
from repltap.feed import Feed
from repltap.intake import Intake
from repltap.store.history import HistoryStore
from tests.protocol.ways import rdb
from tests.readers import FakeReader
from tests.stored import REPLID, START, open_store, store_config, until


class AttachedReader(FakeReader):
    """Detaches when it is dropped, as a session does."""

    def __init__(self, feed: Feed, history: HistoryStore) -> None:
        super().__init__()
        self._leave = lambda: feed.readers.detach(self, history)
        feed.readers.attach(self, history)

    def drop(self, reason: DisconnectReason, detail: str) -> None:
        super().drop(reason, detail)
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
