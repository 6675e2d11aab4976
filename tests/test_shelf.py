"""Stored snapshots: the newest that will do, checked before it is served after a start."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from repltap.errors import OpenFilesError
from repltap.position import Offset
from repltap.shelf import SnapshotShelf
from repltap.store.snapshots import Snapshot
from repltap.store.store import Store
from repltap.tasks import OwnedTasks
from tests.protocol.ways import rdb
from tests.stored import START, add_snapshot, hold, open_store, until


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path, segment_bytes=1000)
    hold(store, bytes(5000))
    yield store
    store.close()


class Bench:
    """A shelf and what it reports."""

    def __init__(self, store: Store, *, at_start: bool) -> None:
        self.failures: list[BaseException] = []
        self.changes = 0
        self.tasks = OwnedTasks(self.failures.append)
        self.history = store.current
        assert self.history is not None
        self.shelf = SnapshotShelf(self.history if at_start else None, self.tasks, self._changed)
        self.shelf.history = self.history

    def _changed(self) -> None:
        self.changes += 1

    def newest(self, *formats: str) -> Snapshot | None:
        return self.shelf.newest(lambda name: not formats or name.lower() in formats)


@pytest.fixture
async def bench(store: Store) -> AsyncIterator[Bench]:
    """A shelf whose snapshots arrived in this process."""
    made = Bench(store, at_start=False)
    yield made
    await made.tasks.join()
    assert not made.failures


@pytest.fixture
async def restarted(store: Store) -> AsyncIterator[Bench]:
    """A shelf whose snapshots are from before the start."""
    made = Bench(store, at_start=True)
    yield made
    await made.tasks.join()
    assert not made.failures


async def test_the_newest_snapshot_that_will_do(bench: Bench) -> None:
    add_snapshot(bench.history, rdb(), offset=2000)
    add_snapshot(bench.history, rdb().replace(b"REDIS0011", b"VALKEY080"), offset=3000)
    found = bench.newest()
    assert found is not None
    assert found.offset == 3000
    found = bench.newest("redis0011")
    assert found is not None
    assert found.offset == 2000
    assert bench.newest("redis0012") is None


async def test_a_snapshot_without_its_tail_will_not_do(bench: Bench) -> None:
    assert bench.newest() is not None
    bench.history.journal.trim(Offset(START + 1000))
    assert bench.newest() is None


async def test_a_snapshot_that_the_journal_has_not_come_to_will_not_do(bench: Bench) -> None:
    """Found in review: after a power failure it was sent, and its replica then closed, for ever."""
    end = bench.history.journal.end
    add_snapshot(bench.history, rdb(), offset=end + 10)
    found = bench.newest()
    assert found is not None
    assert found.offset == START
    bench.history.journal.append(bytes(10), 1)
    found = bench.newest()
    assert found is not None
    assert found.offset == end + 10


async def test_nothing_is_found_where_there_is_no_history(bench: Bench) -> None:
    bench.shelf.history = None
    assert bench.newest() is None


async def test_after_a_start_a_snapshot_is_checked_before_it_is_given_out(
    restarted: Bench,
) -> None:
    assert restarted.newest() is None
    assert restarted.shelf.verifying
    assert restarted.newest() is None  # asked again meanwhile: one check
    await until("the check", lambda: restarted.changes)
    assert not restarted.shelf.verifying
    assert restarted.newest() is not None
    assert restarted.changes == 1


async def test_a_snapshot_whose_bytes_have_changed_is_never_given_out(
    restarted: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Found by attack: a flipped bit in a stored snapshot was served after a restart."""
    path = restarted.history.snapshots.all[0].path
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    assert restarted.newest() is None
    await until("the check", lambda: restarted.changes)
    assert restarted.newest() is None
    assert not restarted.shelf.verifying
    assert not restarted.history.snapshots.all
    assert path.name in caplog.text


async def test_want_of_file_descriptors_is_no_damage(
    restarted: Bench,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is asked for each second while they are short, and said once."""

    def none_left(snapshot: Snapshot, _: object = None) -> None:
        raise OpenFilesError("too many open files", path=tmp_path)

    with monkeypatch.context() as patch:
        patch.setattr(Snapshot, "verify", none_left)
        for _ in range(3):
            assert restarted.newest() is None
            await restarted.tasks.join()
    assert caplog.text.count("too many open files") == 1
    assert restarted.newest() is None
    await until("the check", lambda: restarted.changes)
    assert restarted.newest() is not None


async def test_a_check_that_is_stopped_ends_soon(
    restarted: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found in review: a shutdown waited until all of a large snapshot had been read."""

    def endless(_: Snapshot, each: Callable[[bytes], object]) -> None:
        while True:
            each(b"R")

    with monkeypatch.context() as patch:
        patch.setattr(Snapshot, "verify", endless)
        assert restarted.newest() is None
        assert restarted.shelf.verifying
        restarted.shelf.stop()
        await restarted.tasks.join()
    assert restarted.newest() is None
    await until("the check", lambda: restarted.changes)
    assert restarted.newest() is not None


async def test_a_snapshot_that_is_lost_is_forgotten(bench: Bench) -> None:
    snapshot = bench.newest()
    assert snapshot is not None
    snapshot.path.unlink()
    bench.shelf.lost(snapshot, "the file is gone")
    await until("the change", lambda: bench.changes)
    assert bench.newest() is None
