from pathlib import Path

import pytest

from repltap.errors import CorruptStoreError
from repltap.position import Offset
from repltap.store.cutting import cut_segment
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
    cut_segment(segment, Offset(at))
    index = index_path(segment.path.parent, 1000)
    scan = scan_segment(segment.path, index, segment.start)
    assert (scan.end, scan.damage, segment.end) == (at, "", at)
    assert segment.path.read_bytes() == DATA[: at - 1000]
    assert index.stat().st_size == segment.index_bytes == scan.records * 24


def test_damage_is_not_covered_up(segment: Segment) -> None:
    raw = bytearray(DATA)
    raw[50] ^= 1
    segment.path.write_bytes(raw)
    with pytest.raises(CorruptStoreError, match="offset 1030"):
        cut_segment(segment, Offset(1040))
    assert segment.path.read_bytes() == raw
    cut_segment(segment, Offset(1030))
    assert segment.end == 1030
