from collections.abc import Mapping
from pathlib import Path

import pytest

from repltap.delivery.histories import stored_histories
from repltap.delivery.place import Place
from repltap.delivery.runner import StoppedError
from repltap.delivery.snapshots import Shelf, SnapshotFeed, begin_place, stream_db
from repltap.position import ReplId
from repltap.sink import SnapshotRecord
from repltap.store.snapshot import Snapshot
from tests.delivery.stored import Stored, sets
from tests.rdb.build import key, length, rdb, string, strings
from tests.stored import REPLID, START, add_snapshot

KEYS = tuple(b"key:%d" % n for n in range(2500))


def newest(path: Path, shelf: Shelf | None = None) -> Snapshot | None:
    return (shelf or Shelf(lambda: None)).newest(stored_histories(path)[0])


def read(snapshot: Snapshot, skip: int = 0) -> list[SnapshotRecord]:
    feed = SnapshotFeed(snapshot, replid=ReplId(REPLID), source="m")
    try:
        found: list[SnapshotRecord] = []
        for part in feed.parts(skip):
            assert not part.records or part.records[-1].ordinal == part.ordinal - 1
            found += part.records
        return found
    finally:
        feed.close()


def test_each_key_has_its_place(tmp_path: Path) -> None:
    Stored(tmp_path).begin(keys=KEYS)
    snapshot = newest(tmp_path)
    assert snapshot is not None
    records = read(snapshot)
    assert [record.key for record in records] == list(KEYS)
    assert [record.ordinal for record in records] == list(range(len(KEYS)))
    assert records[5].id == f"{REPLID}:{START}:5"
    assert {record.type for record in records} == {"string", "list"}
    assert stream_db(snapshot) == 0


@pytest.mark.parametrize("skip", [1, 999, 1000, 1001, 2499, 2500])
def test_it_can_be_resumed_anywhere(tmp_path: Path, skip: int) -> None:
    Stored(tmp_path).begin(keys=KEYS)
    snapshot = newest(tmp_path)
    assert snapshot is not None
    assert read(snapshot, skip) == read(snapshot)[skip:]


class Reading:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.payloads = {"list": 100}
        self.told: list[object] = []

    def begin_snapshot(self, rdb_format: str, aux: Mapping[str, str]) -> None:
        self.told.append(rdb_format)

    def pass_over(self, record: SnapshotRecord) -> None:
        self.told.append((record.key, record.part))


def test_whoever_makes_something_of_the_records_is_told(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(keys=None)
    large = key(0, b"large", string(b"x" * (3 << 20)))
    small = key(0, b"k", string(b"v")) + key(1, b"list", b"\x01\x01a")
    add_snapshot(stored.history, rdb(b"\xfe\x00" + small + large))
    snapshot = newest(tmp_path)
    assert snapshot is not None
    for skip, passed in ((0, []), (2, []), (4, [(b"large", 0), (b"large", 1)])):
        reading = Reading()
        feed = SnapshotFeed(snapshot, replid=ReplId(REPLID), source="m", reading=reading)
        records = [record for part in feed.parts(skip) for record in part.records]
        feed.close()
        assert reading.told == [snapshot.format, *passed]
        if not skip:
            payloads = {record.key: record.entry[-2] for record in records}
            assert payloads == {b"k": None, b"list": b"\x01\x01\x01a", b"large": None}


def test_libraries_are_records_too(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(keys=None)
    code = b"#!lua name=x\n"
    add_snapshot(stored.history, rdb(b"\xf5" + string(code) + key(0, b"k", string(b"v"))))
    snapshot = newest(tmp_path)
    assert snapshot is not None
    library, plain = read(snapshot)
    assert (library.type, library.value, library.key, library.ordinal) == (
        "function",
        code,
        None,
        0,
    )
    assert (plain.key, plain.ordinal) == (b"k", 1)


def test_what_is_no_record_is_counted(tmp_path: Path) -> None:
    """A module's data beside the keys: nobody can be given it, and somebody is told."""
    stored = Stored(tmp_path).begin(keys=None)
    module = b"\xf7" + length(1 << 10) + length(2) + length(2) + b"\x00"
    add_snapshot(stored.history, rdb(module + key(0, b"k", string(b"v"))))
    snapshot = newest(tmp_path)
    assert snapshot is not None
    feed = SnapshotFeed(snapshot, replid=ReplId(REPLID), source="m")
    assert [len(part.records) for part in feed.parts()] == [1]
    feed.close()
    assert list(feed.losses.counts.values()) == [1]
    assert "beside the keys" in next(iter(feed.losses.counts))


def test_the_newest_whose_tail_is_there_is_taken(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(*range(100)))
    first = newest(tmp_path)
    assert first is not None
    assert first.offset == START
    stored.add_snapshot(b"later").append(sets(*range(100)))
    later = newest(tmp_path)
    assert later is not None
    assert later.offset > START
    stored.trim(stored.end)
    assert newest(tmp_path) is None


def test_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(1)).add_snapshot(b"later")
    shelf = Shelf(lambda: None)
    later = newest(tmp_path)
    assert later is not None
    raw = bytearray(later.path.read_bytes())
    raw[-12] ^= 1
    later.path.write_bytes(raw)
    older = newest(tmp_path, shelf)
    assert older is not None
    assert older.offset == START
    assert list(shelf.damaged) == [str(later.path)]
    stored.close()


def test_only_the_very_same_file_is_resumed(tmp_path: Path) -> None:
    Stored(tmp_path).begin()
    (history,) = stored_histories(tmp_path)
    snapshot = newest(tmp_path)
    assert snapshot is not None
    place = begin_place(1, ReplId(REPLID), snapshot)
    shelf = Shelf(lambda: None)
    assert shelf.same(history, place) == snapshot
    other = Place.from_dict({**place.as_dict(), "crc64": "f" * 16})
    assert shelf.same(history, other) is None
    assert shelf.same(history, place.wanting()) is None


def test_long_reading_can_be_ended(tmp_path: Path) -> None:
    Stored(tmp_path).begin()

    def stop() -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        newest(tmp_path, Shelf(stop))


def test_a_file_that_does_not_say_its_database(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(keys=None)
    add_snapshot(stored.history, rdb(b"\xfa" + strings(b"repl-stream-db", b"-1")))
    snapshot = newest(tmp_path)
    assert snapshot is not None
    assert stream_db(snapshot) is None


def packed(size: int) -> bytes:
    """A compressed string of one letter: a letter, and references to it."""
    body, left = b"\x00a", size - 1
    while left >= 9:
        count = min(left, 264)
        body += bytes([0xE0, count - 9, 0])
        left -= count
    body += bytes([left - 1]) + b"a" * left if left else b""
    return b"\xc3" + length(len(body)) + length(size) + body


def test_small_values_that_become_large_are_no_large_batch(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(keys=None)
    size = 1 << 20
    body = b"".join(key(0, b"k:%d" % n, packed(size)) for n in range(60))
    add_snapshot(stored.history, rdb(body))
    snapshot = newest(tmp_path)
    assert snapshot is not None
    assert snapshot.size_bytes < size
    feed = SnapshotFeed(snapshot, replid=ReplId(REPLID), source="m")
    sizes = [sum(len(r.value) for r in part.records) for part in feed.parts()]  # type: ignore[arg-type]
    feed.close()
    assert sum(sizes) == 60 * size
    assert max(sizes) <= 20 * size
