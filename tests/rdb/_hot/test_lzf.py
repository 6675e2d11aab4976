import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repltap.rdb._hot.lzf import MAX_RATIO, unpack, unpack_in_parts
from repltap.rdb.fault import FaultError


@pytest.mark.parametrize(
    ("packed", "plain"),
    [
        (b"", b""),
        (b"\x00a", b"a"),
        (b"\x1f" + b"x" * 32, b"x" * 32),
        (b"\x02abc\x20\x02", b"abcabc"),
        (b"\x00a\x20\x00", b"aaaa"),
        (b"\x01ab\xe0\x04\x01", b"ab" + b"ab" * 6 + b"a"),  # overlaps what it produces
        (b"\x00z\xe0\xff\x00", b"z" * 265),
    ],
)
def test_packed_forms(packed: bytes, plain: bytes) -> None:
    assert unpack(packed, len(plain)) == plain


def test_a_distant_reference() -> None:
    noise = bytes(range(256)) * 32
    packed = b"".join(b"\x1f" + noise[at : at + 32] for at in range(0, 8192, 32))
    assert unpack(packed + b"\x3f\xff", 8195) == noise + noise[:3]


@pytest.mark.parametrize(
    ("packed", "size"),
    [
        (b"\x05ab", 6),  # ends in a literal
        (b"\x00a\x20", 4),  # in a reference
        (b"\x00a\xe0", 10),  # in a length
        (b"\x20\x00", 3),  # before the beginning
        (b"\x00a", 2),  # too little
        (b"\x01ab", 1),  # too much
        (b"\x00a", 1 << 40),
    ],
)
def test_damage(packed: bytes, size: int) -> None:
    with pytest.raises(FaultError):
        unpack(packed, size)


@given(st.binary(max_size=200), st.integers(0, 20_000))
def test_anything_gives_the_size_or_an_error(packed: bytes, size: int) -> None:
    try:
        assert len(unpack(packed, size)) == size <= len(packed) * MAX_RATIO
    except FaultError:
        pass


class Taken:
    """Packed bytes that are taken a few at a time."""

    def __init__(self, packed: bytes) -> None:
        self._packed = packed

    def take(self, size: int) -> bytes:
        taken, self._packed = self._packed[:size], self._packed[size:]
        assert len(taken) == size
        return taken


def in_parts(packed: bytes, size: int, part_bytes: int) -> list[bytes]:
    return list(unpack_in_parts(Taken(packed).take, len(packed), size, part_bytes))


def test_large_ones_come_in_parts() -> None:
    """References over the borders of pieces and of parts, as far back as they go."""
    rng = random.Random(1)
    packed = bytearray(b"\x1f" + rng.randbytes(32)) * 300
    size = 32 * 300
    for _ in range(20_000):
        if rng.randrange(3):
            literals = rng.randbytes(rng.randrange(1, 33))
            packed += bytes([len(literals) - 1]) + literals
            size += len(literals)
        else:
            length = rng.randrange(256)
            packed += bytes([0xE0 | rng.randrange(32), length, rng.randrange(256)])
            size += 9 + length
    plain = unpack(bytes(packed), size)
    for part_bytes in (1000, 8192, 100_000, size - 1, size, size + 1):
        parts = in_parts(bytes(packed), size, part_bytes)
        assert b"".join(parts) == plain
        assert {len(part) for part in parts[:-1]} <= {part_bytes}
        assert 0 < len(parts[-1]) <= part_bytes
    for wrong in (size - 1, size + 1, MAX_RATIO * len(packed) + 1):
        with pytest.raises(FaultError):
            in_parts(bytes(packed), wrong, 1000)


@pytest.mark.parametrize("shift", range(32))
def test_an_element_that_is_cut_off_waits_for_its_rest(shift: int) -> None:
    packed = bytes([shift]) + b"s" * (shift + 1) + (b"\x1f" + b"x" * 32) * 1000
    size = shift + 1 + 32_000
    assert b"".join(in_parts(packed, size, 7000)) == unpack(packed, size)


@given(st.binary(max_size=200), st.integers(0, 2000), st.integers(1, 300))
def test_in_parts_or_whole_is_the_same(packed: bytes, size: int, part_bytes: int) -> None:
    try:
        expected = unpack(packed, size)
    except FaultError:
        with pytest.raises(FaultError):
            in_parts(packed, size, part_bytes)
    else:
        assert b"".join(in_parts(packed, size, part_bytes)) == expected
