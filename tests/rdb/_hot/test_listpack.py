import pytest
from hypothesis import given
from hypothesis import strategies as st

from repltap.rdb._hot.listpack import HEADER_BYTES, begin, read
from repltap.rdb.fault import FaultError
from tests.rdb.build import listpack, lp_number, lp_text

ENTRIES = {
    b"\x00": b"0",
    b"\x7f": b"127",
    b"\x83abc": b"abc",
    b"\x80": b"",
    b"\xc0\x80": b"128",
    b"\xcf\xff": b"4095",
    b"\xdf\xff": b"-1",
    b"\xd0\x00": b"-4096",
    b"\xf1\x00\x80": b"-32768",
    b"\xf2\xff\xff\x7f": b"8388607",
    b"\xf3\x00\x00\x00\x80": b"-2147483648",
    lp_number(-(2**63)): b"-9223372036854775808",
    lp_text(b"x" * 64): b"x" * 64,
    lp_text(b"y" * 4095): b"y" * 4095,
    lp_text(b"z" * 20_000): b"z" * 20_000,
    lp_text(b"w" * 2_100_000): b"w" * 2_100_000,
} | {
    # Around the sizes of entries, with their heads, whose backward lengths get wider.
    lp_text(b"b" * size): b"b" * size
    for size in (125, 126, 16_377, 16_378, 16_379, 2_097_145, 2_097_146, 2_097_147)
}


def read_all(data: bytes, limit: int) -> list[bytes]:
    found: list[bytes] = []
    position = HEADER_BYTES
    while position < len(data) - 1:
        position = read(data, position, limit, found)
    return found


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_every_encoding(limit: int) -> None:
    data = listpack(ENTRIES)
    assert begin(data) == len(ENTRIES)
    assert read_all(data, limit) == list(ENTRIES.values())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x07\x00\x00\x00\x00\x00",
        b"\x08\x00\x00\x00\x00\x00\xff",  # not as long
        b"\x07\x00\x00\x00\x00\x00\x00",  # no end
    ],
)
def test_no_listpack(data: bytes) -> None:
    with pytest.raises(FaultError):
        begin(data)


@pytest.mark.parametrize(
    "entry", [b"\x85ab", b"\xe0\x40ab", b"\xf0\xff\xff\xff\xff", b"\xf5", b"\xf4"]
)
@pytest.mark.parametrize("limit", [1, 9])
def test_damage(entry: bytes, limit: int) -> None:
    data = listpack([b"\x01"]) if not entry else listpack([b"\x01", entry])
    with pytest.raises(FaultError):
        read_all(data, limit)


@given(st.binary(max_size=60), st.integers(1, 5))
def test_anything_ends(body: bytes, limit: int) -> None:
    data = b"\x00" * 6 + body + b"\xff"
    try:
        assert len(read_all(data, limit)) <= len(body)
    except FaultError:
        pass
