"""When reading stops for want of room, and when it goes on: seen through the link."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from repltap.endings import FailureReason
from repltap.errors import DiskFullError, OpenFilesError
from repltap.net import room as room_module
from repltap.status.link import LinkState
from tests.net.links import asks_for, synced
from tests.net.peers import FakeMaster
from tests.net.relay import link, open_feed
from tests.protocol.ways import MARK, rdb
from tests.stored import OTHER, REPLID, SET, START, held, until


async def test_no_room_in_the_stream(
    tmp_path: Path, master: FakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fitted is kept and served; the master is left alone until there is room."""
    monkeypatch.setattr(room_module, "_POLL_SECONDS", 0.001)
    room = False
    async with link(tmp_path, master.port, store={"segment_bytes": 1000}) as it:
        peer = await synced(it, master, SET)
        journal = it.history.journal
        append = journal.append

        def journal_is_full() -> bool:
            return bool(journal.end > START + len(SET))

        def append_a_part(data: memoryview | bytes, now_ns: int) -> None:
            append(data[:3], now_ns)
            raise DiskFullError("no space left", path=tmp_path)

        await peer.acked(START + len(SET))
        monkeypatch.setattr(journal, "append", append_a_part)
        # There is room to read on, and then none to go on with.
        monkeypatch.setattr(it.feed, "has_room", lambda wanted: room or not journal_is_full())
        peer.say(SET)
        await until("the pause", lambda: it.link.disk_full)
        assert "no space left" in it.link.status().last_error
        assert it.link.counters.ends == {FailureReason.DISK_FULL: 1}
        while args := await peer.command():  # until it has hung up: the ACK of a second may come
            assert args == [b"REPLCONF", b"ACK", b"%d" % (START + len(SET))]
        assert journal.read(START, 100) == SET + SET[:3]
        assert master.accepted == 1
        monkeypatch.setattr(journal, "append", append)
        room = True
        peer, asked = await master.asked()
        assert asked == asks_for(START + len(SET))
        peer.say(b"+CONTINUE\r\n" + SET)
        await it.holds(START + 2 * len(SET))
        assert not it.link.disk_full
        assert journal.read(START, 100) == SET * 2


async def test_a_stream_that_reaches_the_quota_before_old_journal_goes_is_not_made_to_wait(
    tmp_path: Path, master: FakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found on a busy machine: each pause was twice as long as the last, with room after each."""
    monkeypatch.setattr(room_module, "_POLL_SECONDS", 3600.0)
    async with link(tmp_path, master.port) as it:
        peer = await synced(it, master, SET)
        monkeypatch.setattr(type(it.feed), "working_room_bytes", len(SET))
        journal = it.history.journal
        append, end = journal.append, START + len(SET)

        def append_once(data: memoryview | bytes, now_ns: int) -> None:
            append(data, now_ns)
            raise DiskFullError("the quota is used up", path=tmp_path)

        for _ in range(5):
            await peer.acked(end)
            monkeypatch.setattr(journal, "append", append_once)
            peer.say(SET)
            end += len(SET)
            await peer.gone()
            monkeypatch.setattr(journal, "append", append)
            peer, asked = await master.asked()
            assert asked == asks_for(end)
            peer.say(b"+CONTINUE\r\n" + SET)
            end += len(SET)
        await it.holds(end)


async def test_reading_stops_before_the_disk_is_full(
    tmp_path: Path, master: FakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "_POLL_SECONDS", 0.001)
    async with link(tmp_path, master.port) as it:
        peer = await synced(it, master)
        monkeypatch.setattr(it.feed, "has_room", lambda wanted=0: False)
        await peer.gone()
        await until("the pause", lambda: it.link.disk_full)
        monkeypatch.undo()
        _, asked = await master.asked()
        assert asked == asks_for(START)


async def test_files_that_can_not_be_opened_are_not_called_a_full_disk(
    tmp_path: Path,
    master: FakeMaster,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Found by reading: the status said that the disk was full when descriptors had run out."""
    monkeypatch.setattr(room_module, "_POLL_SECONDS", 60.0)
    async with link(tmp_path, master.port) as it:
        peer = await synced(it, master)

        def none_left(data: bytes) -> None:
            raise OpenFilesError("too many open files", path=tmp_path)

        with monkeypatch.context() as patched:
            patched.setattr(it.feed, "append", none_left)
            peer.say(SET)
            await peer.gone()
        await until("the pause", lambda: it.link.state is LinkState.PAUSED)
        assert not it.link.disk_full
        assert "no more files can be opened; reading has stopped" in caplog.text
        assert " free, " not in caplog.text


async def test_what_there_is_no_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found in use: 66 MB free and 8 MB wanted did not say why that is too little."""
    feed = open_feed(tmp_path, min_free_bytes=64 << 20)
    monkeypatch.setattr(feed, "free_bytes", lambda: 66 << 20)
    monkeypatch.setattr(feed, "has_room", lambda wanted: False)
    assert room_module.shortage(feed, 8 << 20) == (
        "no room left: 66.00M free, 8.00M wanted and 64.00M kept free (store.min_free_bytes)"
    )
    assert room_module.shortage(feed, 70 << 20) == "no room left: 66.00M free, 70.00M wanted"
    # At a quota of 8 MB it said so of 3 MB free, 1 MB wanted, and 64 MB that were not in the way.
    monkeypatch.setattr(feed, "has_room", lambda wanted: True)
    said = room_module.shortage(feed, 8 << 20)
    assert said == "no room was left; 66.00M free now, 8.00M wanted"
    await feed.close()


async def test_a_quota_is_named_where_there_is_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = open_feed(tmp_path, quota_bytes=24 << 20)
    monkeypatch.setattr(feed, "has_room", lambda wanted: False)
    monkeypatch.setattr(feed, "free_bytes", lambda: 20 << 20)
    assert room_module.shortage(feed, 28 << 20) == (
        "no room left: 20.00M free, 28.00M wanted (the quota is 24.00M: store.quota_bytes)"
    )
    await feed.close()


async def test_a_snapshot_larger_than_the_room(
    tmp_path: Path, master: FakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not asked for again until it might fit: each try is a fork of the master."""
    monkeypatch.setattr(room_module, "_POLL_SECONDS", 0.001)
    held(tmp_path, SET)
    free = 1_000_000
    asked_about: list[int] = []

    def has_room(wanted: int = 100) -> bool:
        asked_about.append(wanted)
        return wanted < free

    async with link(tmp_path, master.port) as it:
        monkeypatch.setattr(it.feed, "has_room", has_room)
        it.feed._retention.working_room_bytes = 1000
        peer, _ = await master.asked()
        peer.say(b"+FULLRESYNC %b 500\r\n$2000000\r\nREDIS0011" % OTHER.encode())
        await peer.gone()
        await until("the pause", lambda: it.link.disk_full)
        asked_about.clear()
        await until("polls", lambda: asked_about[-3:] == [2_000_000] * 3)
        assert "no room for a snapshot of 2000000 bytes" in it.link.status().last_error
        assert master.accepted == 1
        assert it.history.history.replid == REPLID
        free = 3_000_000
        _, asked = await master.asked()
        assert asked == asks_for(START + len(SET))
        monkeypatch.undo()


async def test_a_snapshot_without_a_length_that_does_not_fit(
    tmp_path: Path, master: FakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "_POLL_SECONDS", 0.001)
    quota = 50_000
    wanted_bytes: list[int] = []

    def has_room(wanted: int = 100) -> bool:
        wanted_bytes.append(wanted)
        return wanted <= quota

    async with link(tmp_path, master.port, store={"quota_bytes": quota}) as it:
        monkeypatch.setattr(it.feed, "has_room", has_room)
        it.feed._retention.working_room_bytes = 1000
        peer, _ = await master.asked()
        peer.say(b"+FULLRESYNC %b 500\r\n$EOF:%b\r\n" % (OTHER.encode(), MARK))
        peer.say(rdb(bytes(100_000)))
        await until("the pause", lambda: it.link.disk_full)
        # What it had already, and a quarter on top.
        await until("the estimate", lambda: wanted_bytes[-1] > quota)
        assert wanted_bytes[-1] <= quota * 5 // 4
        assert "quota of 50000 bytes" in it.link.status().last_error
        await until("removal", lambda: not os.listdir(tmp_path / "histories"))
        assert master.accepted == 1
        monkeypatch.undo()
