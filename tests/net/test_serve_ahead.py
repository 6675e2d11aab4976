"""Replicas that ask for more than the journal holds: patience, and when it ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from repltap.net import serve as serve_module
from repltap.net.serve import SyncService
from repltap.position import Offset
from tests.net.relay import port
from tests.net.serving import END, begin
from tests.protocol.ways import rdb
from tests.stored import OTHER, REPLID, SET, START, held


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A data directory with a history of two commands."""
    return held(tmp_path, SET * 2)


async def test_a_replica_ahead_continues_when_the_journal_catches_up(
    path: Path, fast_ticks: None
) -> None:
    async with port(path) as it:
        it.upstream.streaming_since = asyncio.get_running_loop().time()
        with await it.replica() as replica:
            await replica.ask(REPLID, END + 4)
            await replica.newline()
            it.feed.append(b"12")
            it.feed.append(b"3456")
            assert await replica.line() == b"+CONTINUE"
            assert await replica.exactly(2) == b"56"
        assert (it.service.partial, it.service.full, it.service.denied) == (1, 0, 0)


async def test_a_replica_that_stays_ahead_holds_other_bytes(
    path: Path, fast_ticks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve_module, "_AHEAD_GRACE_SECONDS", 0.05)
    async with port(path) as it:
        # Long since: the wait counts from the request.
        it.upstream.streaming_since = it.upstream.flowing_since = 0.0
        with await it.replica() as replica:
            await replica.ask(REPLID, END + 4)
            await replica.newline()
            assert await replica.snapshot() == (REPLID, START, rdb())
        assert (it.service.full, it.service.denied) == (1, 1)


async def test_a_replica_ahead_of_a_journal_that_is_fetched_again_is_held_while_it_grows(
    path: Path, fast_ticks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay has had those bytes before its own full resync; they may be gigabytes away."""
    monkeypatch.setattr(serve_module, "_AHEAD_GRACE_SECONDS", 0.0)
    growing = True
    monkeypatch.setattr(SyncService, "_grows", lambda *_: growing)
    async with port(path) as it:
        it.upstream.streaming_since = it.upstream.flowing_since = 0.0
        it.history.known_end = Offset(END + 4)
        with await it.replica() as replica, await it.replica() as stranger:
            await replica.ask(REPLID, END + 4)
            await replica.newline()
            await stranger.ask(REPLID, END + 5)  # what nobody has seen is not waited for
            assert await stranger.snapshot() == (REPLID, START, rdb())
            await replica.newline()
            growing = False
            assert await replica.snapshot() == (REPLID, START, rdb())
        assert (it.service.full, it.service.denied) == (2, 2)


async def test_a_journal_grows_until_its_end_has_been_the_same_for_a_while(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(serve_module, "_now", lambda: now)
    async with port(path) as it:
        assert it.service._grows(Offset(5))
        now += 2.9
        assert it.service._grows(Offset(5))
        now += 0.2
        assert not it.service._grows(Offset(5))
        assert it.service._grows(Offset(6))


async def test_a_replica_ahead_of_a_stream_that_has_not_begun_to_flow_is_held_longer(
    path: Path, fast_ticks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that stalled behind `+CONTINUE` cost it a full sync: three seconds had passed."""
    monkeypatch.setattr(serve_module, "_AHEAD_GRACE_SECONDS", 0.0)
    async with port(path) as it:
        it.upstream.streaming_since = 0.0
        with await it.replica() as replica:
            await replica.ask(REPLID, END + 4)
            for _ in range(2):  # the second a second later
                await replica.newline()
            it.upstream.flowing_since = asyncio.get_running_loop().time()
            it.feed.append(b"1234")
            assert await replica.line() == b"+CONTINUE"
        assert (it.service.partial, it.service.denied) == (1, 0)


async def test_a_replica_ahead_of_a_stream_that_never_flows_is_given_up(
    path: Path, fast_ticks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve_module, "_AHEAD_SILENT_SECONDS", 0.05)
    async with port(path) as it:
        it.upstream.streaming_since = 0.0
        with await it.replica() as replica:
            await replica.ask(REPLID, END + 4)
            assert await replica.snapshot() == (REPLID, START, rdb())


async def test_a_replica_ahead_without_a_master_is_held_then_sent_away(
    path: Path, fast_ticks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps its offset: it asks again, and a master that comes back may have the bytes."""
    monkeypatch.setattr(serve_module, "_AHEAD_GRACE_SECONDS", 0.0)
    monkeypatch.setattr(serve_module, "_AHEAD_LIMIT_SECONDS", 0.05)
    async with port(path) as it:
        with await it.replica() as replica:
            await replica.ask(REPLID, END + 4)
            await replica.newline()
            assert (await replica.line()).startswith(b"-NOMASTERLINK")
            assert (it.service.full, it.service.denied) == (0, 0)
            it.feed.append(b"1234")
            await replica.ask(REPLID, END + 4)  # on the same connection
            assert await replica.line() == b"+CONTINUE"


async def test_a_replica_ahead_while_a_full_sync_arrives(path: Path) -> None:
    async with port(path) as it:
        data = rdb(bytes(500))
        intake = await begin(it.feed, size=len(data))
        intake.write(data[:100])
        with await it.replica() as replica:
            await replica.ask(REPLID, END + 4)
            assert await replica.line() == b"+FULLRESYNC %b 500" % OTHER.encode()
