import struct

import anycrc
import pytest

from repltap.errors import CorruptRdbError, UnsupportedRdbError
from repltap.rdb._hot.source import CHUNK_BYTES, Limits
from tests.rdb.build import length, source, string

STEPS = [None, 1, 7]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("number", [0, 63, 64, 16383, 16384, 2**32 - 1, 2**32, 2**64 - 1])
def test_lengths(number: int, step: int | None) -> None:
    found = source(length(number) + b"rest", step=step)
    assert found.length() == number
    assert found.offset == len(length(number))


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"\x03abc", b"abc"),
        (b"\xc0\x80", b"-128"),
        (b"\xc1\xff\x7f", b"32767"),
        (b"\xc2\x00\x00\x00\x80", b"-2147483648"),
        (b"\xc3\x05\x0b\x00z\xe0\x01\x00", b"z" * 11),
        (b"\x81" + (3).to_bytes(8, "big") + b"abc", b"abc"),
        (string(b"x" * 20_000), b"x" * 20_000),
    ],
)
@pytest.mark.parametrize("step", STEPS)
def test_strings(raw: bytes, value: bytes, step: int | None) -> None:
    data = raw * 3 + b"rest"
    found = source(data, step=step)
    assert [found.string() for _ in range(3)] == [value] * 3
    assert found.take(4) == b"rest"
    found = source(data, step=step)
    for _ in range(3):
        found.skip_string()
    assert found.take(4) == b"rest"
    found = source(data, step=step)
    several: list[bytes] = []
    assert found.strings(3, 1 << 20, several) == 3
    assert several == [value] * 3
    found = source(data, step=step)
    found.skip_strings(3)
    assert found.take(4) == b"rest"


def test_strings_stop_at_the_budget() -> None:
    found = source(string(b"x" * 10) * 5)
    several: list[bytes] = []
    assert found.strings(5, 15, several) == 2
    assert found.strings(0, 15, several) == 0
    assert found.strings(5, 0, several) == 1


@pytest.mark.parametrize("raw", [b"\x82", b"\xbf", b"\xc0", b"\xff"])
def test_no_length(raw: bytes) -> None:
    with pytest.raises(CorruptRdbError):
        source(raw + bytes(20)).length()


@pytest.mark.parametrize(
    "raw", [b"\xc4", b"\x83", b"\xff", b"\xc3\x02\x03\x20\x00", b"\xc3\xc0\x01"]
)
def test_no_string(raw: bytes) -> None:
    with pytest.raises(CorruptRdbError):
        source(raw + bytes(20)).string()


@pytest.mark.parametrize(
    "raw", [b"", b"\x05abc", b"\x40", b"\x80\x00", b"\xc2\x00", b"\xc3\x09\x09a"]
)
@pytest.mark.parametrize("step", STEPS)
def test_cut_off(raw: bytes, step: int | None) -> None:
    for use in ("string", "skip_string"):
        with pytest.raises(CorruptRdbError, match="cut off") as caught:
            getattr(source(raw, step=step), use)()
        assert caught.value.offset == len(raw)


@pytest.mark.parametrize("size", [1 << 29 | 1, 1 << 40, 2**64 - 1])
def test_no_allocation_for_what_is_only_said(size: int) -> None:
    for raw in (length(size), b"\xc3" + length(5) + length(size), b"\xc3" + length(size) + b"\x05"):
        with pytest.raises(UnsupportedRdbError, match="longer than the limit"):
            source(raw + b"x" * 100).string()
    with pytest.raises(CorruptRdbError, match="cut off"):
        source(length(size) + b"x").skip_string()
    with pytest.raises(CorruptRdbError, match="can't hold"):
        source(b"\xc3\x03" + length(1 << 29) + b"abc").string()


@pytest.mark.parametrize("size", [0, 1, 62, 63, 64, 300, 16_383, 16_384, 70_000])
@pytest.mark.parametrize("step", STEPS)
def test_strings_of_every_length_in_each_loop(size: int, step: int | None) -> None:
    item = string(b"x" * size)
    found = source(item * 3 + b"end", step=step)
    found.skip_strings(3)
    assert found.take(3) == b"end"
    members: list[bytes] = []
    assert source(item * 3, step=step).strings(3, 1 << 20, members) == 3
    assert members == [b"x" * size] * 3
    scores: list[tuple[bytes, float]] = []
    scored = source((item + struct.pack("<d", 1.5)) * 3 + b"end", step=step)
    assert scored.scored(3, 1 << 20, scores) == 3
    assert scores == [(b"x" * size, 1.5)] * 3
    assert scored.take(3) == b"end"


def test_scored_stop_at_the_budget() -> None:
    for item in (b"x" * 10, b"x" * 100):
        scores: list[tuple[bytes, float]] = []
        data = (string(item) + struct.pack("<d", -0.5)) * 9
        assert source(data).scored(9, 3 * len(item) - 1, scores) == 3


def test_large_strings_and_the_checksum() -> None:
    value = bytes(range(256)) * (5 * CHUNK_BYTES // 512)
    data = b"head" + string(value) + b"tail"
    found = source(data, step=100_000)
    assert found.take(4) == b"head"
    assert found.string() == value
    assert found.checksum == anycrc.Model("CRC64-REDIS").calc(data[:-4])
    assert (found.take(4), found.offset) == (b"tail", len(data))
    assert not found.fill(1)


@pytest.mark.parametrize("step", STEPS)
def test_recording(step: int | None) -> None:
    data = b"before" + string(b"value" * 100) + b"after"
    found = source(data, step=step)
    found.take(6)
    found.start_recording()
    found.string()
    assert found.stop_recording() == data[6:-5]
    assert found.take(5) == b"after"


def test_recording_has_a_limit() -> None:
    found = source(string(b"x" * (3 * CHUNK_BYTES)), Limits(payload_bytes=CHUNK_BYTES))
    found.start_recording()
    with pytest.raises(UnsupportedRdbError, match="serialized"):
        found.string()


def test_numbers() -> None:
    found = source(b"\xff\xff\x01\x00\xfe", Limits())
    assert (found.signed(2), found.unsigned(2), found.byte()) == (-1, 1, 0xFE)
