import pytest

from repltap.rdb._hot.plain import take_strings
from tests.rdb.build import source, string

FILL = b"\x00\x01k" + b"\x80" + bytes(40_000)  # not taken here; makes room behind what is


def expiring(record: bytes, time: int) -> bytes:
    return b"\xfc" + time.to_bytes(8, "little", signed=True) + record


@pytest.mark.parametrize("step", [None, 1000])
def test_runs(step: int | None) -> None:
    records = (
        b"\x00" + string(b"a") + string(b"x")
        + b"\x00" + string(b"b" * 100) + string(b"y" * 16383)
        + expiring(b"\x00" + string(b"c") + b"\xc0\x80", 123)
        + b"\x00\x00\x00"
        + expiring(b"\x00" + string(b"d") + b"\xc1\xff\x7f", -1)
        + b"\x00" + string(b"e") + b"\xc2\x00\x00\x00\x80"
    )  # fmt: skip
    found = source(records + FILL, step=step)
    taken: list[tuple[bytes, bytes, int | None]] = []
    while more := take_strings(found):  # no more at a time than the buffer holds
        taken += more
    assert taken == [
        (b"a", b"x", None),
        (b"b" * 100, b"y" * 16383, None),
        (b"c", b"-128", 123),
        (b"", b"", None),
        (b"d", b"32767", -1),
        (b"e", b"-2147483648", None),
    ]
    assert found.offset == len(records)


@pytest.mark.parametrize(
    "record",
    [
        b"\x01\x01k\x01\x01x",
        b"\xfe\x00",
        b"\xff",
        expiring(b"\xf9\x05\x00\x01k\x01x", 5),
        b"\x00\xc0\x05\x01x",
        b"\x00\x01k\xc3\x02\x02\x01ab",
        b"\x00\x01k\x80",
    ],
)
def test_it_stops_before_anything_else(record: bytes) -> None:
    before = b"\x00\x01a\x01x"
    found = source(before + record + FILL)
    assert take_strings(found) == [(b"a", b"x", None)]
    assert found.offset == len(before)


def test_the_end_is_left_to_others() -> None:
    found = source(b"\x00\x01a\x01x" * 10)
    assert take_strings(found) == []
    assert found.offset == 0


@pytest.mark.parametrize("count", [1, 7, 5000])
@pytest.mark.parametrize(
    ("key_size", "value_size"), [(0, 0), (16, 64), (63, 63), (5, 16383), (64, 3)]
)
def test_records_that_are_alike(count: int, key_size: int, value_size: int) -> None:
    count = min(count, 100_000 // (value_size + 1))
    expected: list[tuple[bytes, bytes, int | None]] = []
    records = b""
    for number in range(count):
        pair = (b"%063d" % number * 2)[-key_size:] if key_size else b"", b"%d" % number * value_size
        key, value = pair[0], pair[1][:value_size].ljust(value_size)
        records += b"\x00" + string(key) + string(value)
        expected.append((key, value, None))
    for tail in (b"", b"\x00\x01k" + b"\x01x", b"\x01\x01k\x01\x01x", b"\xff"):
        found = source(records + tail + FILL)
        taken: list[tuple[bytes, bytes, int | None]] = []
        while more := take_strings(found):
            taken += more
        assert taken[:count] == expected
        assert len(taken) == count + tail.startswith(b"\x00")
