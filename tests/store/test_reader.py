"""Looking at a store without opening it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from repltap.errors import CorruptStoreError, DataDirError, NotRetainedError
from repltap.position import Offset
from repltap.store import reader
from repltap.store.format import RECORD_BYTES
from repltap.store.history import HistoryStore
from repltap.store.options import StoreOptions
from repltap.store.reader import HistoryReader, JournalReader, StoreReader
from repltap.store.segment import Segment
from repltap.store.store import Store
from tests.journals import sparse_store
from tests.stored import OTHER, START, hold

DATA = bytes(range(256)) * 14
OPTIONS = StoreOptions(segment_bytes=1000, index_interval_bytes=100, index_interval_seconds=1000.0)
SECOND = 10**9


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path, OPTIONS)


def fill(history: HistoryStore, size: int = 3500) -> HistoryStore:
    """Append in hundreds, a second each."""
    for position in range(0, size, 100):
        history.journal.append(DATA[position : position + 100], position // 100 * SECOND)
    return history


def whole(view: JournalReader) -> bytes:
    return b"".join(block.data for block in view.blocks(view.start, view.end()))


def listing(path: Path) -> dict[str, tuple[int, int]]:
    found = (p for p in path.rglob("*") if p.is_file())
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in found}


def test_a_running_store_is_seen_and_left_alone(store: Store, tmp_path: Path) -> None:
    history = fill(hold(store))
    before = listing(tmp_path)
    view = StoreReader(tmp_path)
    assert view.owner == os.getpid()
    (found,) = view.histories
    assert found.metadata.history == history.history
    assert (found.number, found.damage) == (1, None)
    journal = found.journal()
    assert (journal.start, journal.end(), journal.mark) == (START, START + 3500, START)
    assert journal.disk_bytes == history.journal.disk_bytes
    assert whole(journal) == DATA[:3500]
    assert listing(tmp_path) == before
    store.close()
    assert StoreReader(tmp_path).owner is None


def test_histories(store: Store, tmp_path: Path) -> None:
    hold(store)
    hold(store, replid=OTHER)
    store.begin_history(OTHER, Offset(7), origin="arriving")
    view = StoreReader(tmp_path)
    assert [history.number for history in view.histories] == [1, 2]
    assert view.history(None).number == 2
    assert view.history(1).number == 1
    with pytest.raises(NotRetainedError, match="there is no history 3"):
        view.history(3)
    store.discard(store.others()[0])
    with pytest.raises(NotRetainedError, match="has been removed"):
        view.history(1).journal()
    store.close()


def test_a_damaged_history_file(store: Store, tmp_path: Path) -> None:
    history = hold(store)
    file = history.path / "history.json"
    file.write_bytes(file.read_bytes().replace(b'"start_db": 0', b'"start_db": 1'))
    store.close()
    (found,) = StoreReader(tmp_path).histories
    assert found.damage is not None
    assert str(found.damage) == f"{file}: does not match its checksum"
    with pytest.raises(CorruptStoreError, match="does not match its checksum"):
        _ = found.metadata
    assert found.journal().start == START


def test_a_renamed_history(store: Store, tmp_path: Path) -> None:
    history = hold(store)
    store.close()
    history.path.rename(history.path.with_name("7" + history.path.name[1:]))
    (found,) = StoreReader(tmp_path).histories
    assert found.damage is not None
    assert found.damage.message == "is of history 1"


@pytest.mark.parametrize("name", ["absent", "file"])
def test_no_data_directory(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataDirError, match="is not a data directory of repltap"):
        StoreReader(tmp_path / name)


def test_nothing_stored(store: Store, tmp_path: Path) -> None:
    store.close()
    with pytest.raises(NotRetainedError, match="no history is stored"):
        StoreReader(tmp_path).history(None)


@pytest.fixture
def view(store: Store, tmp_path: Path) -> JournalReader:
    """The journal of a store that has been closed, 100 to 3600 in four segments."""
    fill(hold(store))
    store.close()
    return StoreReader(tmp_path).history(None).journal()


@pytest.mark.parametrize(("start", "end"), [(100, 3600), (150, 151), (1099, 1101), (2345, 3456)])
def test_ranges(view: JournalReader, start: int, end: int) -> None:
    blocks = list(view.blocks(Offset(start), Offset(end)))
    assert b"".join(block.data for block in blocks) == DATA[start - 100 : end - 100]
    assert blocks[0].offset == start
    assert blocks[0].time_ns == (start - 100) // 100 * SECOND


def test_an_empty_range(view: JournalReader) -> None:
    assert list(view.blocks(Offset(200), Offset(200))) == []
    assert list(view.blocks(Offset(3600), Offset(9999))) == []


def test_times(view: JournalReader) -> None:
    assert view.times(view.segments[1]) == (10 * SECOND, 19 * SECOND)
    assert view.offset_at(10 * SECOND) == 1200
    assert view.offset_at(-1) == 100
    assert view.offset_at(10**18) == 3600


@pytest.mark.parametrize("suffix", ["seg", "idx"])
@pytest.mark.parametrize("position", [0, 5, 9])
def test_damage_is_never_given_out(view: JournalReader, suffix: str, position: int) -> None:
    """Whatever is read before it is right, and nothing follows."""
    file = view.path / f"{1100:020d}.{suffix}"
    raw = bytearray(file.read_bytes())
    raw[position * (100 if suffix == "seg" else RECORD_BYTES)] ^= 1
    file.write_bytes(raw)
    for start in range(100, 2100, 100):
        got = b""
        blocks = view.blocks(Offset(start), Offset(3600))
        if start < 1100 + (position + 1) * 100:
            with pytest.raises(CorruptStoreError, match="damaged at offset"):
                for block in blocks:
                    got += block.data
            assert len(got) <= 1000 + position * 100
        else:
            # An index may be searched past its damage, or not; never is something left out.
            try:
                for block in blocks:
                    got += block.data
            except CorruptStoreError:
                assert suffix == "idx"
            else:
                assert len(got) == 3600 - start
        assert got == DATA[start - 100 :][: len(got)]


def test_a_missing_segment(store: Store, tmp_path: Path) -> None:
    history = fill(hold(store))
    store.close()
    history.journal.segments[1].path.unlink()
    view = StoreReader(tmp_path).history(None).journal()
    got = b""
    with pytest.raises(CorruptStoreError, match=r"damaged at offset 1100: it is missing"):
        for block in view.blocks(Offset(100), Offset(3600)):
            got += block.data
    assert got == DATA[:1000]


def test_a_segment_without_the_end_of_its_index(view: JournalReader) -> None:
    os.truncate(view.path / f"{1100:020d}.idx", 3 * RECORD_BYTES)
    again = JournalReader(view.path)
    with pytest.raises(CorruptStoreError, match="its index does not cover it"):
        whole(again)


def test_a_torn_end_is_not_read(view: JournalReader) -> None:
    with open(view.segments[-1].path, "ab") as file:
        file.write(b"torn")
    with open(view.segments[-1].path.with_suffix(".idx"), "ab") as file:
        file.write(b"\0" * 30)
    again = JournalReader(view.path)
    assert again.end() == 3600
    assert whole(again) == DATA[:3500]


def test_a_new_segment_without_a_record(store: Store, tmp_path: Path) -> None:
    history = fill(hold(store), 1000)
    history.journal.append(b"x", 1)
    view = StoreReader(tmp_path).history(None).journal()
    assert (len(view.segments), view.end()) == (2, 1100)
    assert view.times(view.segments[1]) is None
    store.close()


def test_trimmed_meanwhile(view: JournalReader) -> None:
    for segment in view.segments:
        segment.path.unlink()
    with pytest.raises(NotRetainedError):
        whole(view)


def test_a_listing_with_a_hole_is_made_again(
    view: JournalReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = reader.list_segments
    listings: list[Callable[[list[Segment]], list[Segment]]] = [
        lambda found: [found[0], *found[2:]],
        lambda found: found[2:],
    ]

    def list_segments(path: Path, since: Offset | None) -> list[Segment]:
        found = real(path, since)
        return listings.pop(0)(found) if listings else found

    monkeypatch.setattr(reader, "list_segments", list_segments)
    assert [s.start for s in JournalReader(view.path).segments] == [2100, 3100]


def test_snapshots(store: Store, tmp_path: Path) -> None:
    history = hold(store)
    (snapshot,) = history.snapshots.all

    def look() -> HistoryReader:
        return StoreReader(tmp_path).history(None)

    assert look().snapshots() == ([snapshot], [])
    size = snapshot.size_bytes
    os.truncate(snapshot.path, size - 1)
    found, (damage,) = look().snapshots()
    assert (found, str(damage)) == (
        [],
        f"{snapshot.path}: is {size - 1} bytes long instead of {size}",
    )
    metadata = snapshot.path.with_suffix(".json")
    raw = metadata.read_bytes()
    metadata.write_bytes(raw.replace(b"REDIS0011", b"REDIS0012"))
    _, (damage,) = look().snapshots()
    assert str(damage) == f"{metadata}: does not match its checksum"
    metadata.write_bytes(raw)
    snapshot.path.unlink()
    _, (damage,) = look().snapshots()
    assert str(damage) == f"{snapshot.path}: the snapshot's file is missing"
    history.snapshots.remove(snapshot)
    assert look().snapshots() == ([], [])
    store.close()


def test_who_has_read_the_rest_looks_at_the_end_alone(tmp_path: Path) -> None:
    view = JournalReader(sparse_store(tmp_path, segments=5, segment_bytes=100))
    starts = [segment.start for segment in view.segments]
    assert starts == [100, 200, 300, 400, 500]
    for since, first in [(0, 100), (100, 100), (399, 300), (400, 400), (599, 500), (9999, 500)]:
        part = JournalReader(view.path, Offset(since))
        assert [segment.start for segment in part.segments] == starts[starts.index(Offset(first)) :]
        assert part.end() == view.end()
