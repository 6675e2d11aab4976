"""Appending to a partition: segments, indexes, going on at an end, retention."""

import os
from pathlib import Path

import pytest

from sinks.eventlog.batch import BatchBuilder, varint
from sinks.eventlog.files import (
    INDEX,
    SUFFIXES,
    TIMEINDEX,
    CorruptLogError,
    End,
    list_segments,
    segment_path,
)
from sinks.eventlog.partition import PartitionWriter
from sinks.eventlog.segment import SegmentReader
from tests.sinks.eventlog.logs import LOG

START = End(0, 0, 0)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def opened(path: Path, end: End = START, **changes: object) -> PartitionWriter:
    writer = PartitionWriter(path, **{"segment_bytes": 1000, **changes})  # type: ignore[arg-type]
    writer.open(end, LOG)
    return writer


def append(writer: PartitionWriter, count: int, size: int = 200) -> None:
    builder = BatchBuilder(compress=False)
    for _ in range(count):
        builder.add(1000 + writer.end.next_offset, None, b"v" * size, varint(0))
        writer.append(*builder.take(writer.end.next_offset))


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


def test_segments_begin_where_the_one_before_ends(tmp_path: Path) -> None:
    writer = opened(tmp_path / "p")
    append(writer, 10)
    writer.sync()
    writer.close()
    bases = list_segments(tmp_path / "p")
    assert bases == [0, 3, 6, 9]
    for base, after in zip(bases, [3, 6, 9, 10], strict=True):
        with SegmentReader(tmp_path / "p", base) as reader:
            assert [b.header.base_offset for b in reader.headers()] == list(range(base, after))
            assert reader.size <= 1000


def test_a_batch_that_is_larger_than_a_segment_has_one_of_its_own(tmp_path: Path) -> None:
    writer = opened(tmp_path / "p")
    append(writer, 1)
    append(writer, 1, size=5000)
    append(writer, 1)
    writer.close()
    assert list_segments(tmp_path / "p") == [0, 1, 2]


@pytest.mark.parametrize("at", range(11))
def test_it_goes_on_at_any_end_as_if_nothing_had_followed(tmp_path: Path, at: int) -> None:
    first, second = opened(tmp_path / "a"), opened(tmp_path / "b")
    append(first, at)
    end = first.end
    append(first, 10 - at, size=333)
    first.close()
    again = opened(tmp_path / "a", end)
    assert again.end == end
    append(again, 10 - at)
    again.close()
    append(second, 10)
    second.close()
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize("suffix", [INDEX, TIMEINDEX])
@pytest.mark.parametrize("base", [0, 3, 9])
@pytest.mark.parametrize("damage", ["absent", "torn", "empty"])
def test_indexes_are_written_again(tmp_path: Path, suffix: str, base: int, damage: str) -> None:
    writer = opened(tmp_path / "p")
    append(writer, 10)
    end = writer.end
    writer.close()
    wanted = contents(tmp_path / "p")
    path = segment_path(tmp_path / "p", base, suffix)
    if damage == "absent":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:5] if damage == "torn" else b"")
    opened(tmp_path / "p", end).close()
    assert contents(tmp_path / "p") == wanted


def test_a_damaged_index_of_the_last_segment_is_written_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = opened(tmp_path / "p")
    append(writer, 2)
    end = writer.end
    writer.close()
    wanted = contents(tmp_path / "p")
    segment_path(tmp_path / "p", 0, INDEX).write_bytes(b"12345678")
    opened(tmp_path / "p", end).close()
    assert contents(tmp_path / "p") == wanted
    assert "did not fit its segment and was written again" in caplog.text


def test_indexes_without_a_segment_are_removed(tmp_path: Path) -> None:
    writer = opened(tmp_path / "p")
    append(writer, 4)
    end = writer.end
    writer.close()
    segment_path(tmp_path / "p", 0).unlink()  # as if killed within `retain`
    opened(tmp_path / "p", end).close()
    assert list_segments(tmp_path / "p", INDEX) == [3]


@pytest.mark.parametrize("change", ["shorter", "absent", "flipped", "other"])
def test_what_was_committed_has_to_be_there(tmp_path: Path, change: str) -> None:
    writer = opened(tmp_path / "p")
    append(writer, 5)
    end = writer.end
    writer.close()
    path = segment_path(tmp_path / "p", end.segment)
    raw = path.read_bytes()
    if change == "shorter":
        path.write_bytes(raw[:-1])
    elif change == "absent":
        path.unlink()
    elif change == "flipped":
        path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    else:
        end = End(end.segment, end.size, end.next_offset + 1)
    with pytest.raises(CorruptLogError):
        opened(tmp_path / "p", end)


def test_the_oldest_go_by_size(tmp_path: Path) -> None:
    writer = opened(tmp_path / "p")
    append(writer, 10)
    writer.sync()
    assert writer.retain(None, None) == 0
    total = sum(segment_path(tmp_path / "p", base).stat().st_size for base in (0, 3, 6, 9))
    assert writer.retain(total - 100, None) == 0  # what is kept would be less
    assert writer.retain(1100, None) == 1
    assert list_segments(tmp_path / "p") == [3, 6, 9]
    assert writer.retain(0, None) == 2
    assert list_segments(tmp_path / "p") == [9]  # the last one is written to
    assert {path.suffix for path in (tmp_path / "p").iterdir()} == set(SUFFIXES)
    assert len(list((tmp_path / "p").iterdir())) == 3
    writer.close()


def test_the_oldest_go_by_age(tmp_path: Path) -> None:
    clock = Clock()
    writer = opened(tmp_path / "p", clock=clock)
    append(writer, 10)
    for base, written in ((0, 900), (3, 950), (6, 990), (9, 1000)):
        os.utime(segment_path(tmp_path / "p", base), (written, written))
    assert writer.retain(None, 100) == 0
    clock.now = 1051
    assert writer.retain(None, 100) == 2
    assert list_segments(tmp_path / "p") == [6, 9]
    clock.now = 5000
    assert writer.retain(None, 100) == 1
    writer.close()


def test_a_segment_is_completed_by_time(tmp_path: Path) -> None:
    clock = Clock()
    writer = opened(tmp_path / "p", clock=clock, roll_seconds=10)
    append(writer, 1)
    clock.now += 9
    writer.sync()
    assert list_segments(tmp_path / "p") == [0]
    clock.now += 1
    writer.sync()
    assert list_segments(tmp_path / "p") == [0, 1]
    assert writer.end == End(1, 0, 1)
    clock.now += 100
    writer.sync()  # an empty one is not
    assert list_segments(tmp_path / "p") == [0, 1]
    writer.close()
    again = opened(tmp_path / "p", End(1, 0, 1), clock=clock, roll_seconds=10)
    append(again, 1)
    assert again.end.segment == 1
    again.close()


def test_the_age_of_a_segment_outlives_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    clock.now = 1.0  # its record is of 1000 ms
    writer = opened(tmp_path / "p", clock=clock, roll_seconds=10)
    append(writer, 1)
    end = writer.end
    writer.close()
    clock.now = 12.0
    again = opened(tmp_path / "p", end, clock=clock, roll_seconds=10)
    again.sync()
    assert again.end.segment == 1
    again.close()
