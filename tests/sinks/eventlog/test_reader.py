"""Reading beside a writer, with damage, and while old segments go."""

import os
import shutil
import threading
from pathlib import Path

import pytest

from sinks.eventlog.files import (
    CorruptLogError,
    LogError,
    NoLogError,
    OffsetOutOfRangeError,
    list_segments,
    segment_path,
)
from sinks.eventlog.reader import LogReader
from tests.sinks.eventlog.logs import add, make_log, numbers_of, open_log, read_all

COUNT = 40


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    make_log(tmp_path / "log", COUNT)
    assert len(list_segments(tmp_path / "log/partition-0")) > 3
    return tmp_path / "log"


def test_it_is_read_from_every_offset(directory: Path) -> None:
    for start in range(COUNT + 1):
        found = read_all(directory, start=start)
        assert numbers_of(found) == list(range(start, COUNT))
        assert [record.offset for record in found] == list(range(start, COUNT))


def test_offsets_in_any_order(directory: Path) -> None:
    with LogReader(directory).partition(0) as reader:
        for offset in (7, 30, 8, 8, 39, 0, 1, 2, 1):
            assert numbers_of(reader.read(offset))[0] == offset
        assert reader.read(COUNT) == []
        reader.close()
        assert reader.read(3)[0].offset == 3


@pytest.mark.parametrize("offset", [COUNT + 1, 10**9])
def test_an_offset_that_is_not_there(directory: Path, offset: int) -> None:
    with LogReader(directory).partition(0) as reader:
        with pytest.raises(OffsetOutOfRangeError, match="there are 0 to 40") as raised:
            reader.read(offset)
        assert (raised.value.earliest, raised.value.latest) == (0, COUNT)


def test_times(directory: Path) -> None:
    """The time of record n is 1000 + n."""
    with LogReader(directory).partition(0) as reader:
        assert reader.offset_at(0) == 0
        for number in range(COUNT):
            assert reader.offset_at(1000 + number) == number
        assert reader.offset_at(10**9) == COUNT


def test_times_of_a_clock_that_went_back(tmp_path: Path) -> None:
    writer = open_log(tmp_path / "log")
    add(writer, range(20), ts=5000)
    add(writer, range(20, 40), ts=1000)
    writer.make_commit("p")
    writer.close()
    with LogReader(tmp_path / "log").partition(0) as reader:
        assert reader.offset_at(5003) == 3
        assert reader.offset_at(5019) == 19
        assert reader.offset_at(5020) == 40


def test_times_without_an_index(directory: Path) -> None:
    for path in directory.rglob("*.timeindex"):
        path.unlink()
    test_times(directory)


FEW = 14
"""Records of the logs that are damaged byte by byte: two segments."""


def prefix_or_error(directory: Path, count: int) -> None:
    """What is read is right from the front; what follows is an error, never another record."""
    found: list[int] = []
    try:
        with LogReader(directory).partition(0) as reader:
            offset = reader.earliest()
            assert offset == 0
            while records := reader.read(offset):
                found += numbers_of(records)
                offset = records[-1].offset + 1
        end = True
    except LogError:
        end = False
    assert found == list(range(len(found)))
    assert not end or len(found) == count


def test_every_byte_that_flips(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    make_log(directory, FEW)
    assert len(list(directory.rglob("*.log"))) == 2
    for path in sorted(directory.rglob("*.*")):
        raw = path.read_bytes()
        for position in range(len(raw)):
            broken = bytearray(raw)
            broken[position] ^= 1 << position % 8
            path.write_bytes(broken)
            prefix_or_error(directory, FEW)
        path.write_bytes(raw)
    assert numbers_of(read_all(directory)) == list(range(FEW))


def test_every_file_cut_anywhere(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    make_log(directory, FEW)
    for path in sorted(directory.rglob("*.*")):
        raw = path.read_bytes()
        for length in range(len(raw)):
            path.write_bytes(raw[:length])
            prefix_or_error(directory, FEW)
        path.write_bytes(raw)


def test_every_file_gone(directory: Path, tmp_path: Path) -> None:
    for path in sorted(directory.rglob("*.*")):
        if path.name == "00000000000000000000.log":
            continue  # as retention leaves it
        kept = tmp_path / "kept"
        path.rename(kept)
        prefix_or_error(directory, COUNT)
        kept.rename(path)


def test_a_segment_cut_at_a_batch_is_no_end(directory: Path) -> None:
    path = segment_path(directory / "partition-0", 0)
    with LogReader(directory).partition(0) as reader:
        reader.read(0)
        size = len(path.read_bytes())
    for length in range(size):
        os.truncate(path, size - length - 1)
        with pytest.raises(CorruptLogError):
            read_all(directory)


def test_a_reader_that_follows_sees_everything_once(tmp_path: Path) -> None:
    """Beside a writer that commits all the time, and completes segments."""
    total = 1500
    writer = open_log(tmp_path / "log")
    stop = threading.Event()

    def write() -> None:
        for number in range(0, total, 3):
            add(writer, range(number, number + 3))
            writer.make_commit(str(number))
        stop.set()

    thread = threading.Thread(target=write)
    thread.start()
    found: list[int] = []
    with LogReader(tmp_path / "log").partition(0) as reader:
        ended = False
        while not ended or len(found) < total:
            ended = stop.is_set()
            records = reader.read(len(found))
            found += numbers_of(records)
            assert not ended or records or len(found) == total
    thread.join()
    writer.close()
    assert found == list(range(total))


def test_a_reader_under_retention_misses_nothing_unsaid(tmp_path: Path) -> None:
    writer = open_log(tmp_path / "log", retain_bytes=2000)
    add(writer, range(COUNT))
    writer.make_commit("p")
    with LogReader(tmp_path / "log").partition(0) as reader:
        first = reader.read(0)
        assert writer.retain() > 1
        earliest = reader.earliest()
        assert earliest > 10
        found = numbers_of(first)
        with pytest.raises(OffsetOutOfRangeError) as raised:
            while True:
                found += numbers_of(reader.read(len(found)))
        # The segment that was open is read to its end.
        assert len(found) > len(first)
        assert found == list(range(len(found)))
        assert raised.value.earliest == earliest
        assert numbers_of(reader.read(earliest))[0] == earliest
    writer.close()


def test_no_log(tmp_path: Path) -> None:
    with pytest.raises(NoLogError, match="there is no log"):
        LogReader(tmp_path)
    with pytest.raises(NoLogError):
        LogReader(tmp_path / "nowhere")


def test_a_partition_that_is_gone(directory: Path) -> None:
    reader = LogReader(directory).partition(0)
    shutil.rmtree(directory / "partition-0")
    with pytest.raises(LogError, match="can't be read"):
        reader.read(0)
