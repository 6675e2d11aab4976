import os
from pathlib import Path

import pytest

from repltap.errors import CorruptStoreError, NotRetainedError
from repltap.position import Offset
from repltap.store import segment as module
from repltap.store.format import crc32c, index_path, pack_record
from repltap.store.segment import Segment


@pytest.fixture
def segment(tmp_path: Path) -> Segment:
    path = tmp_path / "s.seg"
    path.write_bytes(b"0123456789")
    return Segment(path, Offset(100), Offset(110), 24)


def test_read_is_bounded_by_the_end(segment: Segment) -> None:
    assert segment.read(Offset(103), 4) == b"3456"
    assert segment.read(Offset(108), 100) == b"89"
    segment.end = Offset(105)
    assert segment.read(Offset(103), 100) == b"34"
    assert segment.fd == -1
    assert segment.disk_bytes == 29


def test_an_acquired_segment_outlives_its_file(segment: Segment) -> None:
    segment.acquire()
    segment.path.unlink()
    segment.acquire()
    segment.release()
    assert os.pread(segment.fd, 3, 0) == b"012"
    assert segment.read(Offset(100), 2) == b"01"
    segment.release()
    assert segment.fd == -1
    with pytest.raises(NotRetainedError):
        segment.acquire()
    with pytest.raises(ValueError, match="more often"):
        segment.release()


@pytest.fixture
def closed(tmp_path: Path) -> Segment:
    """As recovery finds it: offsets 100 to 110, with records at 104 and 110."""
    path = tmp_path / f"{100:020d}.seg"
    path.write_bytes(b"0123456789")
    index_path(tmp_path, 100).write_bytes(
        pack_record(104, 1, crc32c(b"0123")) + pack_record(110, 2, crc32c(b"456789"))
    )
    return Segment(path, Offset(100), Offset(110), 48)


def test_verify(closed: Segment) -> None:
    assert not closed.verified
    closed.verify()
    assert (closed.verified, closed.fd) == (True, -1)


@pytest.mark.parametrize(("position", "offset"), [(0, 100), (3, 100), (4, 104), (9, 104)])
def test_verify_names_file_and_offset(closed: Segment, position: int, offset: int) -> None:
    raw = bytearray(closed.path.read_bytes())
    raw[position] ^= 1
    closed.path.write_bytes(raw)
    with pytest.raises(CorruptStoreError, match=f"damaged at offset {offset}: ") as caught:
        closed.verify()
    assert (caught.value.path, closed.verified, closed.fd) == (closed.path, False, -1)


def test_verify_finds_an_index_that_ends_early(closed: Segment) -> None:
    closed.index_bytes -= 24
    with pytest.raises(CorruptStoreError, match="damaged at offset 104: its index does not end"):
        closed.verify()


@pytest.mark.parametrize("suffix", [".seg", ".idx"])
def test_verify_what_has_been_trimmed(closed: Segment, suffix: str) -> None:
    closed.path.with_suffix(suffix).unlink()
    with pytest.raises(NotRetainedError, match="no longer held"):
        closed.verify()
    assert closed.fd == -1


def test_verify_is_overtaken_by_a_cut(closed: Segment, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.check_records

    def cut_first(
        data: int, index: int, start: Offset, count: int, _: object
    ) -> tuple[Offset, str]:
        closed.cut(Offset(104), 24)
        os.truncate(closed.path, 4)
        return real(data, index, start, count, None)

    monkeypatch.setattr(module, "check_records", cut_first)
    closed.verify()
    assert not closed.verified
    monkeypatch.undo()
    closed.verify()
    assert closed.verified
