"""What one replica is sent: a snapshot, then the stream, and what it pins meanwhile."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from repltap.endings import DisconnectReason
from repltap.errors import NotRetainedError
from repltap.feed import Feed
from repltap.net.connection import Connection
from repltap.net.outflow import Outflow
from repltap.net.transfers import Throttle
from repltap.position import Offset
from repltap.store.history import HistoryStore
from tests.net.relay import open_feed
from tests.protocol.ways import rdb
from tests.stored import HANG_SECONDS, REPLID, SET, START, held, open_fds

END = START + 2 * len(SET)


class Peer:
    """A reader of the feed with an outflow into one end of a pair of sockets."""

    def __init__(self, feed: Feed) -> None:
        self.ours, self.theirs = socket.socketpair()
        for sock in (self.ours, self.theirs):
            sock.setblocking(False)
        self.dropped: list[tuple[DisconnectReason, str]] = []
        self.snapshots_sent = 0
        self.on_sent: Callable[[], None] = lambda: None
        self.connection = Connection(
            self.ours,
            bytearray(4096),
            on_data=lambda _: None,
            on_closed=lambda _: None,
            on_drained=lambda: None,
        )
        unlimited = Throttle(None, None, time.monotonic, asyncio.get_running_loop().call_later)
        self.outflow = Outflow(feed, self, self.connection, unlimited, on_snapshot_sent=self._sent)

    def _sent(self) -> None:
        self.snapshots_sent += 1
        self.on_sent()

    @property
    def pin(self) -> Offset:
        return self.outflow.pin

    def wake(self) -> None:
        self.connection.flush()

    def drop(self, reason: DisconnectReason, detail: str) -> None:
        self.dropped.append((reason, detail))

    async def got(self, size: int) -> bytes:
        data = b""
        async with asyncio.timeout(HANG_SECONDS):
            while len(data) < size:
                part = await asyncio.get_running_loop().sock_recv(self.theirs, size - len(data))
                assert part
                data += part
        return data


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A data directory with a history of two commands."""
    return held(tmp_path, SET * 2)


@asynccontextmanager
async def peer(path: Path) -> AsyncIterator[tuple[Peer, Feed, HistoryStore]]:
    feed = open_feed(path)
    assert feed.history is not None
    feed.history.journal.segments[0].verified = True
    made = Peer(feed)
    try:
        yield made, feed, feed.history
    finally:
        made.outflow.close()
        made.connection.close("")
        made.theirs.close()
        await feed.close()


async def test_the_stream(path: Path) -> None:
    async with peer(path) as (it, feed, history):
        assert (it.outflow.sent_offset, it.outflow.behind) == (None, False)
        it.outflow.prepare_stream(history, START)
        assert it.outflow.behind
        it.connection.flush()
        assert await it.got(2 * len(SET)) == SET * 2
        assert (it.pin, it.outflow.sent_offset, it.outflow.behind) == (END, END, False)
        assert it.outflow.sent_bytes == 2 * len(SET)
        feed.append(SET)
        assert await it.got(len(SET)) == SET
        it.outflow.close()
        assert it.outflow.sent_bytes == 3 * len(SET)
        assert feed.readers._attached == {}


async def test_a_snapshot_then_the_stream(path: Path) -> None:
    async with peer(path) as (it, _, history):
        it.on_sent = it.outflow.begin_stream
        it.outflow.prepare_snapshot(history, history.snapshots.all[0])
        assert it.outflow.snapshot_size == len(rdb())
        assert (it.outflow.snapshot_sent, it.pin) == (0, START)
        it.connection.flush()
        assert await it.got(len(rdb())) == rdb()
        assert (it.snapshots_sent, it.outflow.snapshot_sent) == (1, None)
        it.connection.flush()
        assert await it.got(2 * len(SET)) == SET * 2
        assert it.outflow.sent_bytes == len(rdb()) + 2 * len(SET)


async def test_the_journal_is_held_for_a_stream_that_begins_later(path: Path) -> None:
    async with peer(path) as (it, feed, history):
        it.outflow.prepare_later(history, START)
        assert feed.readers._attached == {history.number: {it}}
        assert (it.pin, it.outflow.sent_offset) == (START, None)
        it.outflow.begin_stream()
        it.outflow.begin_stream()  # once is enough
        it.connection.flush()
        assert await it.got(2 * len(SET)) == SET * 2


async def test_an_intake_that_fails(path: Path) -> None:
    async with peer(path) as (it, feed, _):
        intake = await feed.begin_intake(REPLID, Offset(500), origin="a test")
        intake.begin(None)
        intake.write(rdb(bytes(200)))
        it.outflow.prepare_snapshot(intake.history, intake)
        it.connection.flush()
        assert (intake.followers, intake.followed) == (1, 1)
        feed.abandon_intake("cut")
        assert it.dropped == [(DisconnectReason.SNAPSHOT_ABORTED, "cut")]
        it.outflow.close()
        assert (intake.followers, intake.followed) == (0, 1)


async def test_what_the_journal_does_not_hold_changes_nothing(path: Path) -> None:
    async with peer(path) as (it, feed, history):
        before = open_fds()
        with pytest.raises(NotRetainedError):
            it.outflow.prepare_stream(history, Offset(START - 1))
        assert feed.readers._attached == {}
        assert it.outflow.history is None
        assert open_fds() == before
