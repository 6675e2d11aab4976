from pathlib import Path

import pytest

from repltap.errors import CorruptStoreError
from repltap.position import Offset
from repltap.store.cutting import plan_cut
from repltap.store.format import crc32c, index_path, pack_record, segment_path
from repltap.store.index import scan_segment
from repltap.store.segment import Segment

DATA = bytes(range(60))


@pytest.fixture
def segment(tmp_path: Path) -> Segment:
    """Offsets 1000 to 1060, with records at 1030 and 1060."""
    path = segment_path(tmp_path, 1000)
    path.write_bytes(DATA)
    index_path(tmp_path, 1000).write_bytes(
        pack_record(1030, 1, crc32c(DATA[:30])) + pack_record(1060, 2, crc32c(DATA[30:]))
    )
    return Segment(path, Offset(1000), Offset(1060), 48)


@pytest.mark.parametrize("at", range(1000, 1061))
def test_cut_anywhere(segment: Segment, at: int) -> None:
    cut = plan_cut(segment, Offset(at))
    assert segment.path.read_bytes() == DATA
    assert cut.covered == max(end for end in (1000, 1030, 1060) if end <= at)
    cut.apply()
    cut.apply()
    index = index_path(segment.path.parent, 1000)
    scan = scan_segment(segment.path, index, segment.start)
    assert (scan.end, scan.damage) == (at, "")
    assert segment.path.read_bytes() == DATA[: at - 1000]
    assert index.stat().st_size == cut.index_bytes == scan.records * 24


def test_damage_is_not_covered_up(segment: Segment) -> None:
    raw = bytearray(DATA)
    raw[50] ^= 1
    segment.path.write_bytes(raw)
    with pytest.raises(CorruptStoreError, match="offset 1030"):
        plan_cut(segment, Offset(1040))
    assert segment.path.read_bytes() == raw
    plan_cut(segment, Offset(1030)).apply()
    assert segment.path.read_bytes() == DATA[:30]


def test_damage_of_the_index_is_noticed(segment: Segment) -> None:
    index = index_path(segment.path.parent, 1000)
    raw = bytearray(index.read_bytes())
    raw[3] ^= 1
    index.write_bytes(raw)
    for at in (1010, 1030, 1040):
        with pytest.raises(CorruptStoreError):
            plan_cut(segment, Offset(at))


def test_segments_after_it_are_removed(segment: Segment, tmp_path: Path) -> None:
    after = Segment(segment_path(tmp_path, 1060), Offset(1060), Offset(1070))
    after.path.write_bytes(b"x" * 10)
    index_path(tmp_path, 1060).touch()
    cut = plan_cut(segment, Offset(1000), (after,))
    assert after.path.exists()
    cut.apply()
    assert sorted(p.stat().st_size for p in tmp_path.iterdir()) == [0, 0]
