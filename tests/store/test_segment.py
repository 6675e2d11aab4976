import os
from pathlib import Path

import pytest

from repltap.errors import NotRetainedError
from repltap.position import Offset
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
