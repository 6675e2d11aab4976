"""What is deleted, and when."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from repltap.endings import DisconnectReason
from repltap.errors import OpenFilesError
from repltap.position import Offset
from repltap.retention import Retention
from repltap.store import snapshots as snapshots_module
from repltap.store import timemap
from repltap.store.store import Store
from tests.protocol.ways import rdb
from tests.stored import START, add_snapshot, hold, open_store, store_config


class FakeReader:
    """Notes that it was dropped."""

    def __init__(self, pin: int) -> None:
        self.pin = Offset(pin)
        self.dropped: list[str] = []

    def wake(self) -> None:
        raise AssertionError("retention wakes nobody")

    def drop(self, reason: DisconnectReason, detail: str) -> None:
        self.dropped.append(detail)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Segments of a thousand bytes."""
    opened = open_store(tmp_path, segment_bytes=1000)
    yield opened
    opened.close()


async def test_a_slow_reader_is_dropped_at_the_limit(store: Store) -> None:
    """Those within it hold the journal, those past it are let go."""
    history = hold(store, bytes(6000), snapshot=b"")
    retention = Retention(store, store_config(store.path, retain_bytes=2000, pin_limit_bytes=6000))
    slow, live = FakeReader(START), FakeReader(START + 3500)
    await retention.apply(history, lambda: [slow, live], list)
    assert not slow.dropped
    assert history.journal.start == START
    history.journal.append(bytes(100), 1)
    await retention.apply(history, lambda: [slow, live], list)
    assert len(slow.dropped) == 1
    assert "6100 bytes behind, more than the limit of 6000" in slow.dropped[0]
    assert not live.dropped
    assert history.journal.start == START + 3000  # whole segments, up to what `live` needs
    live.pin = history.journal.end
    await retention.apply(history, lambda: [live], list)
    assert history.journal.start == START + 4000  # kept for those who come back


async def test_a_snapshot_whose_tail_is_too_long_is_removed(store: Store) -> None:
    history = hold(store, bytes(4000))
    retention = Retention(store, store_config(store.path, retain_bytes=2000, pin_limit_bytes=4000))
    await retention.apply(history, list, list)
    assert len(history.snapshots.all) == 1
    assert history.journal.start == START  # the snapshot holds its tail
    history.journal.append(bytes(1), 1)
    await retention.apply(history, list, list)
    assert history.snapshots.all == ()
    assert list(history.snapshots.path.iterdir()) == []
    assert history.journal.start == START + 2000


async def test_a_snapshot_whose_tail_was_given_up_holds_nothing(store: Store) -> None:
    """Found in review: it held all journal that came, up to the limit, and was of no use."""
    history = hold(store, bytes(4000))
    retention = Retention(store, store_config(store.path, retain_bytes=1000, pin_limit_bytes=8000))
    history.journal.trim(Offset(START + 1000)).delete()  # as for a damaged segment
    await retention.apply(history, list, list)
    assert history.snapshots.all == ()
    assert history.journal.start == START + 3000


async def test_the_newest_snapshot_of_each_format_stays(store: Store) -> None:
    history = hold(store, bytes(3000), snapshot=b"")
    for offset in (500, 1000, 1500):
        add_snapshot(history, rdb(), offset=offset)
        add_snapshot(history, rdb().replace(b"REDIS0011", b"VALKEY080"), offset=offset + 100)
    await Retention(store, store_config(store.path)).apply(history, list, list)
    kept = [(s.offset, s.format) for s in history.snapshots.all]
    assert kept == [(1600, "VALKEY080"), (1500, "REDIS0011")]
    assert len(list(history.snapshots.path.glob("*.rdb"))) == 2


async def test_the_open_segment_stays(store: Store) -> None:
    history = hold(store, bytes(3500), snapshot=b"")
    await Retention(store, store_config(store.path, retain_bytes=0, pin_limit_bytes=0)).apply(
        history, list, list
    )
    assert history.journal.start == START + 3000


async def test_a_quota_lowers_the_limit(tmp_path: Path) -> None:
    quota = 16_000
    store = open_store(tmp_path, segment_bytes=1000, quota_bytes=quota)
    history = hold(store, bytes(8000))
    config = store_config(tmp_path, quota_bytes=quota, retain_bytes=100_000)
    retention = Retention(store, config)
    assert retention.working_room_bytes == quota // 16
    reader = FakeReader(START)
    await retention.apply(history, lambda: [reader], list)
    assert not reader.dropped
    for _ in range(8):
        history.journal.append(bytes(1000), 1)
        await retention.apply(history, lambda: [reader] if not reader.dropped else [], list)
        assert store.has_room(retention.working_room_bytes, 0)
    assert len(reader.dropped) == 1
    assert history.snapshots.all == ()
    assert history.journal.start > START
    store.close()


class TimePassed:
    """A journal of which everything below an offset is too old."""

    def __init__(self, expired: int) -> None:
        self.offset = Offset(expired)

    def expired(self, journal: object) -> Offset:
        return self.offset


async def test_old_journal_goes_though_there_is_little_of_it(store: Store) -> None:
    """Readers, pins and the snapshot hold it all the same; the master may be idle."""
    history = hold(store, snapshot=b"")
    history.journal.append(bytes(6000), time.time_ns())
    retention = Retention(store, store_config(store.path, retain_seconds=60.0))
    await retention.apply(history, list, list)
    assert history.journal.start == START
    retention._age = TimePassed(START + 4500)  # type: ignore[assignment]
    await retention.apply(history, lambda: [FakeReader(START + 1500)], lambda: [Offset(START)])
    assert history.journal.start == START
    await retention.apply(history, lambda: [FakeReader(START + 1500)], list)
    assert history.journal.start == START + 1000
    await retention.apply(history, list, list)
    assert history.journal.start == START + 4000
    retention._age = TimePassed(history.journal.end)  # type: ignore[assignment]
    await retention.apply(history, list, list)
    assert history.journal.start == START + 5000  # the last segment stays


async def test_journal_that_is_not_old_is_still_limited_by_its_size(store: Store) -> None:
    history = hold(store, snapshot=b"")
    history.journal.append(bytes(6000), time.time_ns())
    retention = Retention(store, store_config(store.path, retain_seconds=60.0, retain_bytes=2000))
    await retention.apply(history, list, list)
    assert history.journal.start == START + 4000


async def test_the_only_snapshot_is_kept_whatever_its_age(store: Store) -> None:
    """While the master is away it is all there is for a new replica; its tail is kept with it."""
    history = hold(store)
    history.journal.append(bytes(6000), time.time_ns())
    retention = Retention(store, store_config(store.path, retain_seconds=60.0))
    retention._age = TimePassed(history.journal.end)  # type: ignore[assignment]
    await retention.apply(history, list, list)
    assert len(history.snapshots.all) == 1
    assert history.journal.start == START
    add_snapshot(history, rdb(), offset=START + 6000)
    await retention.apply(history, list, list)
    assert [snapshot.offset for snapshot in history.snapshots.all] == [START + 6000]
    assert history.journal.start == START + 5000


async def test_out_of_descriptors_old_journal_waits(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = hold(store, snapshot=b"")
    history.journal.append(bytes(6000), time.time_ns())
    retention = Retention(store, store_config(store.path, retain_seconds=60.0))

    def refuse(segment: object) -> int:
        raise OpenFilesError("Too many open files", path=store.path)

    monkeypatch.setattr(timemap, "last_time", refuse)
    await retention.apply(history, list, list)
    assert history.journal.start == START


async def test_who_is_too_slow_goes_before_the_disk_is_waited_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found on a busy machine: removing a snapshot took long, and the lag grew past the limit."""
    history = hold(store, bytes(6000))
    retention = Retention(store, store_config(store.path, retain_bytes=2000, pin_limit_bytes=4000))
    slow = FakeReader(START)
    told: list[int] = []
    monkeypatch.setattr(
        history.snapshots, "remove", lambda snapshot: told.append(len(slow.dropped))
    )
    await retention.apply(history, lambda: [slow], list)
    assert told == [1]


async def test_out_of_descriptors_a_snapshot_is_removed_all_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    history = hold(store, bytes(6000))
    retention = Retention(store, store_config(store.path, retain_bytes=2000, pin_limit_bytes=4000))

    def refuse(path: Path) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(snapshots_module, "fsync_dir", refuse)
    await retention.apply(history, list, list)
    assert history.snapshots.all == ()
    assert list(history.snapshots.path.iterdir()) == []
    assert "may bring a removed snapshot back" in caplog.text
