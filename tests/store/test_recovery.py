import builtins
import io
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from repltap.errors import CorruptStoreError
from repltap.position import Offset
from repltap.store import recovery
from repltap.store.budget import Budget
from repltap.store.format import MARK_NAME, RECORD_BYTES, pack_mark
from repltap.store.journal import Journal
from repltap.store.options import StoreOptions
from tests.journals import sparse_store
from tests.store.conftest import MakeJournal, damages
from tests.stored import open_fds

DATA = random.Random(7).randbytes(3510)

Reopen = Callable[..., Journal]


@pytest.fixture
def path(make_journal: MakeJournal) -> Path:
    """A closed journal of four segments, 5000 to 8510, durable up to 8310."""
    journal = make_journal()
    for position in range(0, 3310, 110):
        journal.append(DATA[position : min(position + 110, 3310)], position)
    job = journal.prepare_sync()
    job.run()
    journal.synced(job)
    for position in range(3310, 3510, 20):
        journal.append(DATA[position : position + 20], position)
    journal.close()
    return journal.path


def content(journal: Journal) -> bytes:
    return journal.read(journal.start, journal.end - journal.start)


def listing(path: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in path.iterdir()}


def check_goes_on(journal: Journal, reopen: Reopen) -> None:
    """What was recovered is a prefix; appending to it works and survives."""
    kept = journal.end - 5000
    assert content(journal) == DATA[:kept]
    journal.append(DATA[kept:], 1)
    journal.close()
    again = reopen()
    assert (again.repairs, content(again)) == ([], DATA)
    again.close()
    assert damages(again.path) == []


def last(path: Path, suffix: str) -> Path:
    return max(path.glob(f"*{suffix}"))


def test_sound(path: Path, reopen: Reopen) -> None:
    journal = reopen()
    assert (journal.repairs, journal.start, journal.end) == ([], 5000, 8510)
    assert journal.durable_end == 8510
    assert damages(path) == []
    check_goes_on(journal, reopen)


@pytest.mark.parametrize("size", [0, 1, 109, 110, 300, 309, 310, 311, 409, 410, 509])
def test_data_cut_short(path: Path, reopen: Reopen, size: int) -> None:
    os.truncate(last(path, ".seg"), size)
    journal = reopen()
    assert journal.end <= 8000 + size
    assert journal.end > 8000 + size - 120
    assert len(journal.repairs) == 1
    check_goes_on(journal, reopen)


@pytest.mark.parametrize("size", [0, 1, 23, 24, 25, 47, 48, 71, 72, 95])
def test_index_cut_short(path: Path, reopen: Reopen, size: int) -> None:
    index = last(path, ".idx")
    assert index.stat().st_size > 95
    os.truncate(index, size)
    journal = reopen()
    (repair,) = journal.repairs
    assert repair.offset == journal.end
    assert repair.cut_bytes == 8510 - journal.end
    assert repair.kept is not None
    assert repair.kept.read_bytes() == DATA[journal.end - 5000 :]
    check_goes_on(journal, reopen)


@pytest.mark.parametrize("tail", [b"\0", b"\0" * 700, b"*3\r\n$3\r\nSET", os.urandom(1500)])
def test_bytes_past_the_index_are_kept_aside(path: Path, reopen: Reopen, tail: bytes) -> None:
    with open(last(path, ".seg"), "ab") as file:
        file.write(tail)
    journal = reopen()
    assert journal.end == 8510
    assert (path / "00000000000000008510.seg.broken").read_bytes() == tail
    check_goes_on(journal, reopen)


def test_missing_last_index(path: Path, reopen: Reopen) -> None:
    last(path, ".idx").unlink()
    journal = reopen()
    assert journal.end == 8000
    check_goes_on(journal, reopen)


def test_every_flipped_byte_of_the_last_segment(path: Path, reopen: Reopen, tmp_path: Path) -> None:
    """Whatever is flipped: refused, or a true prefix that keeps all but the torn end."""
    pristine = tmp_path / "pristine"
    shutil.copytree(path, pristine)
    outcomes = set()
    for name in (last(path, ".seg").name, last(path, ".idx").name, "durable.mark"):
        size = (path / name).stat().st_size
        for position in range(0, size, 1 if size < 300 else 7):
            damaged = bytearray((pristine / name).read_bytes())
            damaged[position] ^= 1 << position % 8
            (path / name).write_bytes(damaged)
            before = listing(path)
            try:
                journal = reopen()
            except CorruptStoreError as error:
                assert listing(path) == before, "nothing may change"
                outcomes.add(f"refused {error.path.name} {str(error).count('damaged at offset 8')}")
            else:
                assert content(journal) == DATA[: journal.end - 5000]
                outcomes.add("sound" if journal.end == 8510 else "cut")
                journal.close()
            shutil.rmtree(path)
            shutil.copytree(pristine, path)
    assert outcomes == {"refused 00000000000000008000.seg 1", "sound", "cut"}


def test_damage_past_the_mark_is_a_power_failure(path: Path, reopen: Reopen) -> None:
    """Pages are written out of order; what was never reported durable may have holes."""
    segment = last(path, ".seg")
    raw = bytearray(segment.read_bytes())
    raw[320:330] = bytes(10)
    segment.write_bytes(raw)
    journal = reopen()
    assert journal.end == 8310
    assert journal.repairs[0].cut_bytes == 200
    check_goes_on(journal, reopen)


@pytest.mark.parametrize("name", ["seg", "idx"])
def test_damage_below_the_mark_is_refused(path: Path, reopen: Reopen, name: str) -> None:
    file = last(path, f".{name}")
    raw = bytearray(file.read_bytes())
    raw[30] ^= 0xFF
    file.write_bytes(raw)
    before = listing(path)
    with pytest.raises(CorruptStoreError, match="damaged at offset 8") as caught:
        reopen()
    assert caught.value.path == last(path, ".seg")
    assert "move its history directory away" in str(caught.value)
    assert listing(path) == before


@pytest.mark.parametrize("start", [5000, 6000, 7000])
@pytest.mark.parametrize("damage", ["shorter", "longer", "index", "index size", "both gone"])
def test_damaged_middle_is_refused(path: Path, reopen: Reopen, start: int, damage: str) -> None:
    segment, index = path / f"{start:020d}.seg", path / f"{start:020d}.idx"
    if damage == "shorter":
        os.truncate(segment, 999)
    elif damage == "longer":
        os.truncate(segment, 1001)
    elif damage == "index":
        index.unlink()
    elif damage == "index size":
        index.write_bytes(index.read_bytes()[:-25])
    elif start == 5000:
        pytest.skip("that is what trim does")
    else:
        segment.unlink()
        index.unlink()
    before = listing(path)
    with pytest.raises(CorruptStoreError, match=r"damaged at offset [56789]\d\d\d"):
        reopen()
    assert listing(path) == before


@pytest.mark.parametrize("tail", ["lost", "damaged"])
def test_the_index_of_a_durable_segment_is_looked_at_before_it_is_served(
    path: Path, reopen: Reopen, tail: str
) -> None:
    index = path / f"{6000:020d}.idx"
    os.truncate(index, index.stat().st_size - RECORD_BYTES)
    if tail == "damaged":
        with open(index, "ab") as file:
            file.write(bytes(RECORD_BYTES))
    journal = reopen()
    segment = journal.segments[1]
    with pytest.raises(CorruptStoreError, match=r"damaged at offset 69\d\d: "):
        segment.verify()
    assert not segment.verified
    journal.close()


@pytest.mark.parametrize("count", [10, 200])
def test_a_start_opens_the_last_segment_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """However long the journal: the same files are opened, the same bytes read."""
    path = sparse_store(tmp_path, segments=count, segment_bytes=4096, record_bytes=256)
    opened: list[str] = []
    read: list[int] = []
    real_pread = os.pread

    def counting(real: Callable[..., object]) -> Callable[..., object]:
        def count_open(file: object, *rest: object, **more: object) -> object:
            opened.append(Path(str(file)).name)
            return real(file, *rest, **more)

        return count_open

    def counting_pread(fd: int, size: int, position: int) -> bytes:
        data = real_pread(fd, size, position)
        read.append(len(data))
        return data

    before = open_fds()
    for module in (os, io, builtins):
        monkeypatch.setattr(module, "open", counting(module.open))
    monkeypatch.setattr(os, "pread", counting_pread)
    journal = Journal.open(path, StoreOptions(), Budget(None))
    monkeypatch.undo()
    assert len(journal.segments) == count
    assert len(opened) < 12
    assert {name[:20] for name in opened if name[0].isdigit()} == {
        f"{journal.segments[-1].start:020d}"
    }
    assert sum(read) == 4096
    assert len(open_fds() - before) == 3
    journal.close()


def test_missing_segment_with_its_index_left(path: Path, reopen: Reopen) -> None:
    for start in (6000, 8000):
        segment = path / f"{start:020d}.seg"
        raw = segment.read_bytes()
        segment.unlink()
        with pytest.raises(CorruptStoreError, match=f"offset {start}: the segment file is missing"):
            reopen()
        segment.write_bytes(raw)
    for segment in path.glob("*.seg"):
        segment.unlink()
    with pytest.raises(CorruptStoreError, match="no segment"):
        reopen()


def test_interrupted_trim_and_roll(path: Path, reopen: Reopen) -> None:
    (path / f"{5000:020d}.seg").unlink()  # trim removes the data first
    (path / f"{8510:020d}.idx").touch()  # a roll makes the index first
    journal = reopen()
    assert (journal.start, journal.end, journal.repairs) == (6000, 8510, [])
    assert len(list(path.glob("*.idx"))) == 3


def test_segments_behind_unsynced_damage_are_set_aside(
    make_journal: MakeJournal, reopen: Reopen
) -> None:
    journal = make_journal()
    journal.append(DATA, 1)
    journal.close()
    os.truncate(journal.path / f"{6000:020d}.seg", 950)
    again = reopen()
    assert again.end <= 6950
    assert [repair.offset for repair in again.repairs] == [8000, 7000, again.end]
    assert (again.path / f"{7000:020d}.seg.broken").read_bytes() == DATA[2000:3000]
    check_goes_on(again, reopen)


def test_old_damage_is_found_by_verify(path: Path, reopen: Reopen) -> None:
    segment = path / f"{6000:020d}.seg"
    raw = bytearray(segment.read_bytes())
    raw[500] ^= 1
    segment.write_bytes(raw)
    reopen().close()
    (damage,) = damages(path)
    assert damage.path == segment
    assert damage.start is not None
    assert 6300 < damage.start <= 6500


def test_kept_tails_are_bounded(path: Path, reopen: Reopen) -> None:
    for number in range(recovery.KEEP_BROKEN_FILES + 3):
        with open(last(path, ".seg"), "ab") as file:
            file.write(b"junk")
        journal = reopen()
        journal.append(b"%d" % number, 1)
        journal.close()
    assert len(list(path.glob("*.broken"))) == recovery.KEEP_BROKEN_FILES
    assert (path / f"{journal.end - 2:020d}.seg.broken").exists()


def test_no_room_for_the_cut_tail(
    path: Path, reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(last(path, ".seg"), "ab") as file:
        file.write(b"junk")

    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recovery, "_copy_tail", no_room)
    journal = reopen()
    assert journal.repairs[0].kept is None
    check_goes_on(journal, reopen)


def test_damaged_mark_makes_recovery_strict(path: Path, reopen: Reopen) -> None:
    (path / "durable.mark").unlink()
    segment = last(path, ".seg")
    raw = bytearray(segment.read_bytes())
    raw[320] ^= 1
    segment.write_bytes(raw)
    with pytest.raises(CorruptStoreError):
        reopen()
    assert Offset(8310) < last(path, ".seg").stat().st_size + 8000


def test_durable_bytes_before_whole_segments_are_refused(path: Path, reopen: Reopen) -> None:
    """Found in review: they were cut off, and all behind them, although the mark promised them."""
    (path / MARK_NAME).write_bytes(pack_mark(7500))
    closed = path / f"{7000:020d}.seg"
    raw = bytearray(closed.read_bytes())
    raw[200:] = bytes(byte ^ 1 for byte in raw[200:])  # to its end, so that no record matches
    closed.write_bytes(raw)
    before = listing(path)
    with pytest.raises(CorruptStoreError, match="damaged at offset 7200"):
        reopen()
    assert listing(path) == before
