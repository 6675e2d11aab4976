from pathlib import Path

import pytest

from repltap.errors import DataDirError
from repltap.position import Offset
from repltap.store import timemap
from repltap.store.format import index_path, pack_record, segment_path
from repltap.store.segment import Segment


def make(directory: Path, start: int, *records: tuple[int, int]) -> Segment:
    index_path(directory, start).write_bytes(b"".join(pack_record(e, t, 0) for e, t in records))
    end = Offset(records[-1][0] if records else start)
    return Segment(segment_path(directory, start), Offset(start), end, 24 * len(records))


def test_equal_times_and_empty_segments(tmp_path: Path) -> None:
    segments = [
        make(tmp_path, 0, (10, 5), (20, 5), (30, 5)),
        make(tmp_path, 30, (40, 5), (50, 9)),
        make(tmp_path, 50),
    ]
    assert timemap.offset_at(segments, 4) is None
    assert timemap.offset_at(segments, 5) == 40
    assert timemap.offset_at(segments, 8) == 40
    assert timemap.offset_at(segments, 9) == 50
    assert timemap.time_of(segments[0], Offset(29)) == 5
    assert timemap.time_of(segments[1], Offset(40)) == 9
    assert timemap.time_of(segments[2], Offset(50)) is None
    assert [timemap.last_time(segment) for segment in segments] == [5, 9, None]


def test_an_index_that_has_been_removed(tmp_path: Path) -> None:
    segment = make(tmp_path, 0, (10, 5))
    index_path(tmp_path, 0).unlink()
    with pytest.raises(DataDirError):
        timemap.offset_at([segment], 7)
    with pytest.raises(DataDirError):
        timemap.time_of(segment, Offset(1))
    with pytest.raises(DataDirError):
        timemap.last_time(segment)
