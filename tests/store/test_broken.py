"""What was found damaged and is kept: counted, and the first to go."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from repltap.store.broken import BrokenFiles
from repltap.store.store import Store
from tests.protocol.ways import rdb
from tests.stored import OTHER, hold, open_store


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """One of each kind; the snapshot is the oldest, the history the newest."""
    kept = {
        "1-aaaaaaaa/snapshots/7-redis0011.rdb.broken": 300,
        "1-aaaaaaaa/journal/00000000000000000100.seg.broken": 200,
        "0-bbbbbbbb.broken/journal/00000000000000000001.seg": 400,
    }
    for age, (name, size) in enumerate(kept.items()):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
        os.utime(path, (1000 + age, 1000 + age))
    os.utime(tmp_path / "0-bbbbbbbb.broken", (2000, 2000))
    (tmp_path / "1-aaaaaaaa/journal/00000000000000000001.seg").write_bytes(bytes(50))
    return tmp_path


def test_what_nobody_else_counts(directory: Path) -> None:
    broken = BrokenFiles(directory)
    broken.look()
    assert (broken.disk_bytes, broken.reserved_bytes) == (600, 0)


def test_the_oldest_goes_first(directory: Path) -> None:
    broken = BrokenFiles(directory)
    assert broken.drop(lambda: True) == []
    answers = iter([False, False, True])
    dropped = broken.drop(lambda: next(answers))
    assert [path.suffixes[-2:] for path in dropped] == [[".rdb", ".broken"], [".seg", ".broken"]]
    assert broken.disk_bytes == 400
    assert [path.name for path in broken.drop(lambda: False)] == ["0-bbbbbbbb.broken"]
    assert broken.disk_bytes == 0
    assert (directory / "1-aaaaaaaa/journal/00000000000000000001.seg").exists()
    assert broken.drop(lambda: False) == []


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A quota of 10 000 bytes of which a damaged tail and a damaged snapshot take a part."""
    opened = open_store(tmp_path, segment_bytes=1000, quota_bytes=10_000)
    history = hold(opened, bytes(100))
    opened.close()
    (history.journal.path / "00000000000000000050.seg.broken").write_bytes(bytes(3000))
    (history.snapshots.path / "7-redis0011.rdb.broken").write_bytes(bytes(2000))
    opened = open_store(tmp_path, segment_bytes=1000, quota_bytes=10_000)
    yield opened
    opened.close()


def test_they_count_against_the_quota(store: Store) -> None:
    assert 4000 < store.free_bytes() < 5000
    assert not store.has_room(5000, 0)
    dropped = store.drop_broken(lambda: store.has_room(9000, 0))
    assert len(dropped) == 2
    assert store.has_room(9000, 0)


def test_no_more_is_deleted_than_is_needed(store: Store) -> None:
    assert store.drop_broken(lambda: store.has_room(100, 0)) == []
    assert len(store.drop_broken(lambda: store.has_room(6000, 0))) == 1


def test_those_of_a_discarded_history_are_gone_with_it(store: Store) -> None:
    old = store.current
    assert old is not None
    hold(store, replid=OTHER)
    store.discard(old)
    assert store.free_bytes() > 9000


def test_a_snapshot_that_is_set_aside_still_counts(tmp_path: Path) -> None:
    store = open_store(tmp_path, quota_bytes=100_000)
    history = hold(store, snapshot=rdb(bytes(5000)))
    size = history.snapshots.all[0].size_bytes
    before = store.free_bytes()
    history.snapshots.set_aside(history.snapshots.all[0])
    assert store.free_bytes() == before
    assert len(store.drop_broken(lambda: False)) == 1
    assert store.free_bytes() == before + size
    store.close()
