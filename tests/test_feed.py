"""The feed: where it resumes, what it compares with what it holds, and who is woken."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from repltap.errors import DiskFullError, RemoteProtocolError
from repltap.position import Offset, Position, ReplId
from repltap.store.history import HistoryStore
from repltap.store.reader import JournalReader
from tests.feeds import AttachedReader, current, opened, stored, take_in
from tests.stored import OTHER, REPLID, SET, START, closed_gate, command, held, until

MULTI = command(b"MULTI")


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


async def test_a_new_replid_shifts_the_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(tmp_path, SET + SET[:20])
    async with opened(tmp_path) as feed:
        told: list[bool] = []
        feed.listen(lambda: told.append(feed.shifting))
        reader = AttachedReader(feed, current(feed))
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


async def test_waiting_readers_are_woken_once(tmp_path: Path) -> None:
    held(tmp_path)
    async with opened(tmp_path) as feed:
        waits, busy, left = (AttachedReader(feed, current(feed)) for _ in range(3))
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
        reader = AttachedReader(feed, current(feed))
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
        reader = AttachedReader(feed, current(feed))
        feed.readers.detach(reader, current(feed))
        feed.readers.detach(reader, current(feed))
        assert feed.readers._attached == {}
