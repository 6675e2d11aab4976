from pathlib import Path

from repltap.store import format as layout


def test_worked_example_of_the_module_docstring() -> None:
    data = b"*1\r\n$4\r\nPING\r\n"
    record = layout.pack_record(1014, 1_500_000_000, layout.crc32c(data))
    assert record.hex() == "f603000000000000002f6859000000007aa313548f26e4cd"
    assert layout.unpack_record(record) == (1014, 1_500_000_000, 0x5413A37A)
    assert f"{record.hex()[:16]} {record.hex()[16:32]}" in (layout.__doc__ or "")


def test_crc32c_check_value() -> None:
    assert layout.crc32c(b"123456789") == 0xE3069283
    assert layout.crc32c(b"6789", layout.crc32c(b"12345")) == 0xE3069283
    assert layout.crc32c(b"") == 0


def test_every_flipped_bit_of_a_record_is_noticed() -> None:
    record = layout.pack_record(2**63 - 1, 7, 9)
    for bit in range(len(record) * 8):
        damaged = bytearray(record)
        damaged[bit // 8] ^= 1 << bit % 8
        assert layout.unpack_record(bytes(damaged)) is None


def test_short_and_long_records_are_refused() -> None:
    record = layout.pack_record(5, 6, 7)
    assert layout.unpack_record(record[:-1]) is None
    assert layout.unpack_record(record + b"x") is None
    assert layout.unpack_record(b"") is None


def test_mark() -> None:
    mark = layout.pack_mark(123456)
    assert len(mark) == layout.MARK_BYTES
    assert layout.unpack_mark(mark) == 123456
    assert layout.unpack_mark(mark[:-1]) is None
    assert layout.unpack_mark(b"\0" + mark[1:]) is None


def test_names() -> None:
    path = layout.segment_path(Path("x"), 1000)
    assert path == Path("x/00000000000000001000.seg")
    assert layout.parse_name(path.name) == (1000, "seg")
    assert layout.parse_name(layout.index_path(Path("x"), 7).name) == (7, "idx")
    assert layout.parse_name(layout.broken_path(Path("x"), 7).name) is None
    assert layout.parse_name("durable.mark") is None


def test_many_records() -> None:
    records = [layout.pack_record(100 + number, number, number * 7) for number in range(5)]
    records[3] = b"\xff" * layout.RECORD_BYTES
    raw = b"".join(records)
    for trailing in (b"", b"x", b"x" * (layout.RECORD_BYTES - 1)):
        found = list(layout.unpack_records(raw + trailing))
        assert found == [layout.unpack_record(record) for record in records]
        assert found[3] is None
