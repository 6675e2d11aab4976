"""What is deleted, and when."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from repltap.errors import OpenFilesError
from repltap.holds import SinkHolds
from repltap.position import Offset
from repltap.retention import Retention
from repltap.store import snapshots as snapshots_module
from repltap.store import timemap
from repltap.store.reader import JournalReader
from repltap.store.store import Store
from tests.protocol.ways import rdb
from tests.readers import FakeReader
from tests.stored import OTHER, START, add_snapshot, hold, open_store, store_config


class PinningReader(FakeReader):
    def wake(self) -> None:
        raise AssertionError("retention wakes nobody")


def limited(store: Store, holds: SinkHolds | None = None, **limits: object) -> Retention:
    return Retention(store, store_config(store.path, **limits), holds or SinkHolds())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Segments of a thousand bytes."""
    opened = open_store(tmp_path, segment_bytes=1000)
    yield opened
    opened.close()


async def test_a_slow_reader_is_dropped_at_the_limit(store: Store) -> None:
    """Those within it hold the journal, those past it are let go."""
    history = hold(store, bytes(6000), snapshot=b"")
    retention = Retention(
        store, store_config(store.path, retain_bytes=2000, pin_limit_bytes=6000), SinkHolds()
    )
    slow, live = PinningReader(START), PinningReader(START + 3500)
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
    retention = Retention(
        store, store_config(store.path, retain_bytes=2000, pin_limit_bytes=4000), SinkHolds()
    )
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
    retention = Retention(
        store, store_config(store.path, retain_bytes=1000, pin_limit_bytes=8000), SinkHolds()
    )
    history.journal.trim(Offset(START + 1000)).delete()  # as for a damaged segment
    await retention.apply(history, list, list)
    assert history.snapshots.all == ()
    assert history.journal.start == START + 3000


async def test_the_newest_snapshot_of_each_format_stays(store: Store) -> None:
    history = hold(store, bytes(3000), snapshot=b"")
    for offset in (500, 1000, 1500):
        add_snapshot(history, rdb(), offset=offset)
        add_snapshot(history, rdb().replace(b"REDIS0011", b"VALKEY080"), offset=offset + 100)
    await limited(store).apply(history, list, list)
    kept = [(s.offset, s.format) for s in history.snapshots.all]
    assert kept == [(1600, "VALKEY080"), (1500, "REDIS0011")]
    assert len(list(history.snapshots.path.glob("*.rdb"))) == 2


async def test_the_open_segment_stays(store: Store) -> None:
    history = hold(store, bytes(3500), snapshot=b"")
    await Retention(
        store, store_config(store.path, retain_bytes=0, pin_limit_bytes=0), SinkHolds()
    ).apply(history, list, list)
    assert history.journal.start == START + 3000


async def test_a_quota_lowers_the_limit(tmp_path: Path) -> None:
    quota = 16_000
    store = open_store(tmp_path, segment_bytes=1000, quota_bytes=quota)
    history = hold(store, bytes(8000))
    config = store_config(tmp_path, quota_bytes=quota, retain_bytes=100_000)
    retention = Retention(store, config, SinkHolds())
    assert retention.working_room_bytes == quota // 16
    reader = PinningReader(START)
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
    retention = limited(store, retain_seconds=60.0)
    await retention.apply(history, list, list)
    assert history.journal.start == START
    retention._age = TimePassed(START + 4500)  # type: ignore[assignment]
    await retention.apply(history, lambda: [PinningReader(START + 1500)], lambda: [Offset(START)])
    assert history.journal.start == START
    await retention.apply(history, lambda: [PinningReader(START + 1500)], list)
    assert history.journal.start == START + 1000
    await retention.apply(history, list, list)
    assert history.journal.start == START + 4000
    retention._age = TimePassed(history.journal.end)  # type: ignore[assignment]
    await retention.apply(history, list, list)
    assert history.journal.start == START + 5000  # the last segment stays


async def test_journal_that_is_not_old_is_still_limited_by_its_size(store: Store) -> None:
    history = hold(store, snapshot=b"")
    history.journal.append(bytes(6000), time.time_ns())
    retention = Retention(
        store, store_config(store.path, retain_seconds=60.0, retain_bytes=2000), SinkHolds()
    )
    await retention.apply(history, list, list)
    assert history.journal.start == START + 4000


async def test_the_only_snapshot_is_kept_whatever_its_age(store: Store) -> None:
    """While the master is away it is all there is for a new replica; its tail is kept with it."""
    history = hold(store)
    history.journal.append(bytes(6000), time.time_ns())
    retention = limited(store, retain_seconds=60.0)
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
    retention = limited(store, retain_seconds=60.0)

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
    retention = Retention(
        store, store_config(store.path, retain_bytes=2000, pin_limit_bytes=4000), SinkHolds()
    )
    slow = PinningReader(START)
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
    retention = Retention(
        store, store_config(store.path, retain_bytes=2000, pin_limit_bytes=4000), SinkHolds()
    )

    def refuse(path: Path) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(snapshots_module, "fsync_dir", refuse)
    await retention.apply(history, list, list)
    assert history.snapshots.all == ()
    assert list(history.snapshots.path.iterdir()) == []
    assert "may bring a removed snapshot back" in caplog.text


# -- sinks ----------------------------------------------------------------------------------------

LIMITS = {"retain_bytes": 1000, "pin_limit_bytes": 2000}


def starts(store: Store) -> dict[int, int]:
    return {history.number: history.journal.start for history in store.published}


async def test_what_a_sink_needs_is_kept_beyond_the_limit_of_readers(store: Store) -> None:
    history = hold(store, bytes(9000), snapshot=b"")
    holds = SinkHolds()
    holds.hold("a", history.number, Offset(START + 3500))
    holds.hold("b", history.number, Offset(START + 8000))
    slow = PinningReader(START + 5000)
    retention = limited(store, holds, **LIMITS)
    await retention.apply(history, lambda: [slow], list)
    assert slow.dropped  # its limit is its own
    assert history.journal.start == START + 3000
    holds.release("a")
    await retention.apply(history, list, list)
    assert history.journal.start == START + 8000
    assert not holds.lost_bytes


async def test_older_histories_are_kept_until_sinks_have_finished_them(store: Store) -> None:
    first = hold(store, bytes(3000))
    second = hold(store, bytes(3000), replid=OTHER)
    third = hold(store, bytes(9000), snapshot=b"")
    holds = SinkHolds()
    holds.hold("a", second.number, Offset(START + 2900))
    retention = limited(store, holds, **LIMITS)
    await retention.apply(third, list, list)
    assert not first.path.exists()
    # Of the one that follows it needs all.
    assert starts(store) == {second.number: START, third.number: START}
    holds.hold("a", third.number, Offset(START + 9000))
    await retention.apply(third, list, list)
    assert starts(store) == {third.number: START + 8000}
    assert not holds.lost_bytes


async def test_with_a_quota_the_oldest_is_let_go_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(tmp_path, segment_bytes=10_000, quota_bytes=200_000)
    try:
        old = hold(store, bytes(50_000), snapshot=b"")
        new = hold(store, bytes(50_000), replid=OTHER, snapshot=b"")
        holds = SinkHolds()
        holds.hold("stuck", old.number, Offset(START + 20_000))
        holds.hold("live", new.number, Offset(START + 50_000))
        retention = limited(store, holds, quota_bytes=200_000, **LIMITS)
        await retention.apply(new, list, list)
        assert starts(store) == {old.number: START, new.number: START}
        new.journal.append(bytes(60_000), 2)
        await retention.apply(new, list, list)
        assert starts(store) == {new.number: START}
        assert holds.lost_bytes == {"stuck": 30_000}
        # And then journal, no more than it takes.
        for _ in range(8):
            new.journal.append(bytes(10_000), 3)
            await retention.apply(new, list, list)
            assert store.has_room(retention.working_room_bytes, 0)
            # What an operator is warned of before it is reached.
            assert retention.usable_bytes is not None
            assert store.disk_bytes() <= retention.usable_bytes
        assert store.disk_bytes() > 0.85 * (retention.usable_bytes or 0)
        assert START < new.journal.start < START + 90_000
        lost = new.journal.start - START
        assert holds.lost_bytes["stuck"] == 30_000 + lost
        assert holds.lost_bytes["live"] == max(0, lost - 50_000)
    finally:
        store.close()
    said = [r.getMessage() for r in caplog.records if "sink stuck" in r.getMessage()]
    assert len(said) == 1  # once, not with each segment


async def test_room_is_made_at_the_cost_of_sinks_alone(tmp_path: Path) -> None:
    store = open_store(tmp_path, segment_bytes=10_000, quota_bytes=300_000)
    try:
        old = hold(store, bytes(50_000), snapshot=b"")
        new = hold(store, bytes(100_000), replid=OTHER, snapshot=b"")
        holds = SinkHolds()
        holds.hold("stuck", old.number, START)
        retention = limited(
            store, holds, quota_bytes=300_000, retain_bytes=60_000, pin_limit_bytes=60_000
        )
        await retention.apply(new, list, list)
        await retention.make_room(new, 10_000)
        assert len(store.published) == 2  # there was room
        await retention.make_room(new, 160_000)
        assert starts(store) == {new.number: START}
        await retention.make_room(new, 1 << 40)
        # What replicas need is not touched.
        assert starts(store) == {new.number: START + 40_000}
    finally:
        store.close()


async def test_a_history_that_was_never_published_is_nobodys(store: Store) -> None:
    holds = SinkHolds()
    holds.hold("a", 1, START)
    served = hold(store)
    unpublished = store.begin_history(OTHER, START, origin="a test")
    await limited(store, holds).retire(unpublished, served)
    assert not unpublished.path.exists()
    assert served.path.exists()


async def test_the_index_of_a_kept_history_covers_all_of_it(store: Store) -> None:
    old = hold(store, bytes(500))
    old.journal.append(bytes(1), 1)
    new = hold(store, replid=OTHER)
    holds = SinkHolds()
    holds.hold("a", old.number, START)
    await limited(store, holds).retire(old, new)
    assert JournalReader(old.path / "journal").end() == START + 501
