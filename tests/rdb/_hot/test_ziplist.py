import pytest
from hypothesis import given
from hypothesis import strategies as st

from repltap.rdb._hot.ziplist import HEADER_BYTES, begin, read, read_zipmap
from repltap.rdb.fault import FaultError
from tests.rdb.build import ziplist

ENTRIES = {
    b"\x00": b"",
    b"\x03abc": b"abc",
    b"\x3f" + b"a" * 63: b"a" * 63,
    b"\x40\x40" + b"b" * 64: b"b" * 64,
    b"\x7f\xff" + b"c" * 16383: b"c" * 16383,
    b"\x80\x00\x00\x40\x00" + b"d" * 16384: b"d" * 16384,
    b"\xf1": b"0",
    b"\xfd": b"12",
    b"\xfe\x80": b"-128",
    b"\xc0\xff\x7f": b"32767",
    b"\xf0\x00\x00\x80": b"-8388608",
    b"\xd0\xff\xff\xff\xff": b"-1",
    b"\xe0" + b"\xff" * 7 + b"\x7f": b"9223372036854775807",
}


def read_all(data: bytes, limit: int) -> list[bytes]:
    found: list[bytes] = []
    position = HEADER_BYTES
    while position < len(data) - 1:
        position = read(data, position, limit, found)
    return found


@pytest.mark.parametrize("limit", [1, 4, 1000])
def test_every_encoding(limit: int) -> None:
    data = ziplist(ENTRIES)
    assert begin(data) == len(ENTRIES)
    assert read_all(data, limit) == list(ENTRIES.values())


@pytest.mark.parametrize("size", [249, 250, 251, 252])
def test_entries_behind_large_ones(size: int) -> None:
    """The size of the one before takes a byte up to 253."""
    large = b"\x40" + bytes([size]) + b"x" * size
    found = read_all(ziplist([large, b"\x01a", large, b"\xf3", large, large]), 9)
    assert found == [b"x" * size, b"a", b"x" * size, b"2", b"x" * size, b"x" * size]


@pytest.mark.parametrize(
    "data", [b"", b"\x0a" + bytes(9), b"\x0c" + bytes(9) + b"\xff", b"\x0b" + bytes(10)]
)
def test_no_ziplist(data: bytes) -> None:
    with pytest.raises(FaultError):
        begin(data)


@pytest.mark.parametrize(
    "entry", [b"\x05ab", b"\xff", b"\xc1", b"\x80\xff\xff\xff\xff", b"\xe0", b""]
)
@pytest.mark.parametrize("limit", [1, 9])
def test_damage(entry: bytes, limit: int) -> None:
    with pytest.raises(FaultError):
        read_all(ziplist([entry]), limit)


@given(st.binary(max_size=60), st.integers(1, 5))
def test_anything_ends(body: bytes, limit: int) -> None:
    try:
        assert len(read_all(bytes(10) + body + b"\xff", limit)) <= len(body)
    except FaultError:
        pass


def read_map(data: bytes, limit: int = 100) -> list[bytes]:
    found: list[bytes] = []
    position = 1
    while position < len(data) - 1:
        position = read_zipmap(data, position, limit, found)
    return found


def test_zipmaps() -> None:
    long = b"v" * 300
    data = (
        b"\x02\x01a\x02\x00bb\x02cc\xfe" + (300).to_bytes(4, "little") + b"\x03" + long + b"***\xff"
    )
    for limit in (2, 4, 100):
        assert read_map(data, limit) == [b"a", b"bb", b"cc", long]
    assert read_map(b"\x00\xff") == []


@pytest.mark.parametrize(
    "data",
    [
        b"\x01\x01a\xff",
        b"\x01\x01a\x02\x00b\xff",
        b"\x01\x09a\xff",
        b"\x01\x01a\x01\x09b\xff",
        b"\x01\x01a\xff\xff",
        b"\x01\x01a\x02",
    ],
)
def test_damaged_zipmaps(data: bytes) -> None:
    with pytest.raises(FaultError):
        read_map(data)


@given(st.binary(max_size=60))
def test_any_zipmap_ends(body: bytes) -> None:
    try:
        read_map(b"\x01" + body + b"\xff")
    except FaultError:
        pass
