import pytest
from hypothesis import given
from hypothesis import strategies as st

from repltap.rdb._hot.lzf import MAX_RATIO, unpack
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
