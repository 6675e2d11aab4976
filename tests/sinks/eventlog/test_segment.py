"""Finding batches in a segment, with indexes that are right, absent and damaged."""

from pathlib import Path

import pytest

from sinks.eventlog.batch import BatchBuilder, varint
from sinks.eventlog.files import INDEX, TIMEINDEX, CorruptLogError, LogError, segment_path
from sinks.eventlog.segment import INDEX_ENTRY, TIME_ENTRY, IndexBuilder, SegmentReader

BASE, COUNT = 1000, 40
SIZE = 2000  # of a value: an entry for every third batch


@pytest.fixture
def partition(tmp_path: Path) -> Path:
    index, position = IndexBuilder(BASE), 0
    contents = {".log": b"", INDEX: b"", TIMEINDEX: b""}
    for number in range(COUNT):
        builder = BatchBuilder(compress=False)
        builder.add(5000 + 10 * number, None, b"%d" % number + b"." * SIZE, varint(0))
        builder.add(5001 + 10 * number, None, b"second", varint(0))
        raw, header = builder.take(BASE + 2 * number)
        for suffix, entry in zip((INDEX, TIMEINDEX), index.add(header, position), strict=True):
            contents[suffix] += entry
        contents[".log"] += raw
        position += len(raw)
    contents[TIMEINDEX] += index.finish()
    for suffix, content in contents.items():
        segment_path(tmp_path, BASE, suffix).write_bytes(content)
    return tmp_path


def first_of(partition: Path, offset: int) -> int:
    with SegmentReader(partition, BASE) as reader:
        located, raw = next(reader.batches(offset))
        return reader.records(located, raw)[0].offset


def test_every_offset_is_found(partition: Path) -> None:
    for offset in range(BASE, BASE + 2 * COUNT):
        assert first_of(partition, offset) == offset - offset % 2


def test_the_index_saves_reading(partition: Path) -> None:
    with SegmentReader(partition, BASE) as reader:
        position, offset = reader.locate(BASE + 2 * COUNT - 1)
        assert offset > BASE + 2 * COUNT - 10
        assert next(reader.headers(position, offset)).header.base_offset == offset


def test_an_index_may_be_absent(partition: Path) -> None:
    segment_path(partition, BASE, INDEX).unlink()
    assert first_of(partition, BASE + 77) == BASE + 76


def test_a_flipped_bit_in_an_index_leads_nowhere_else(partition: Path) -> None:
    path = segment_path(partition, BASE, INDEX)
    raw = path.read_bytes()
    for position in range(len(raw)):
        for bit in range(8):
            broken = bytearray(raw)
            broken[position] ^= 1 << bit
            path.write_bytes(broken)
            for offset in (BASE, BASE + 7, BASE + 40, BASE + 79):
                assert first_of(partition, offset) == offset - offset % 2


def test_an_index_may_be_torn(partition: Path) -> None:
    path = segment_path(partition, BASE, INDEX)
    raw = path.read_bytes()
    for length in range(len(raw)):
        path.write_bytes(raw[:length])
        assert first_of(partition, BASE + 60) == BASE + 60


def test_times(partition: Path) -> None:
    with SegmentReader(partition, BASE) as reader:
        assert reader.before_time(0) == BASE
        for number in range(COUNT):
            found = reader.before_time(5000 + 10 * number)
            assert BASE <= found <= BASE + 2 * number
            assert found > BASE + 2 * number - 10
        assert reader.before_time(10**6) == BASE + 2 * COUNT


def test_a_time_index_that_goes_back_is_not_believed(partition: Path) -> None:
    path = segment_path(partition, BASE, TIMEINDEX)
    path.write_bytes(path.read_bytes() + TIME_ENTRY.pack(1, 79))
    with SegmentReader(partition, BASE) as reader:
        assert reader.before_time(5200) == BASE


def test_the_example_of_the_indexes() -> None:
    index = IndexBuilder(0)
    builder = BatchBuilder(compress=False)
    for number in range(10):
        builder.add(4991 + number, None, b"", varint(0))
    _, header = builder.take(1000)
    assert index.add(header, 8192) == (
        bytes.fromhex("000003f1 00002000"),
        bytes.fromhex("0000000000001388 000003f1"),
    )
    assert (INDEX_ENTRY.size, TIME_ENTRY.size) == (8, 12)
    assert index.finish() == b""


def test_the_last_batch_gets_an_entry_at_the_end() -> None:
    index = IndexBuilder(0)
    builder = BatchBuilder(compress=False)
    for offset in range(2):
        builder.add(100 + offset, None, b"", varint(0))
        entries = index.add(builder.take(offset)[1], 68 * offset)
    assert entries == (b"", b"")
    assert index.finish() == TIME_ENTRY.pack(101, 1)
    assert index.finish() == b""


def test_nothing_is_read_past_the_size(partition: Path) -> None:
    with SegmentReader(partition, BASE) as reader:
        end = [located.position for located in reader.headers()][3]
    with SegmentReader(partition, BASE, end) as reader:
        assert len(list(reader.batches(BASE))) == 3
    with (
        SegmentReader(partition, BASE, end + 1) as reader,
        pytest.raises(CorruptLogError, match="offset 1006"),
    ):
        list(reader.batches(BASE))


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        SegmentReader(tmp_path, 5)
    segment_path(tmp_path, 5).mkdir()
    with SegmentReader(tmp_path, 5) as reader, pytest.raises(LogError, match="can't be read"):
        list(reader.batches(5))


def test_records_with_wrong_headers_are_noticed(tmp_path: Path) -> None:
    builder = BatchBuilder(compress=False)
    builder.add(0, None, b"", varint(3))
    segment_path(tmp_path, 0).write_bytes(builder.take(0)[0])
    with SegmentReader(tmp_path, 0) as reader:
        ((located, raw),) = reader.batches(0)
        with pytest.raises(CorruptLogError, match="within its headers"):
            reader.verify_batch(located, raw)
