import pytest

from repltap.errors import CorruptRdbError
from repltap.rdb._hot.module import encoding_version, module_name, skip_opcodes
from tests.rdb.build import length, source, string


def test_names() -> None:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    number = 0
    for character in "ReJSON-RL":
        number = number << 6 | letters.index(character)
    assert module_name(number << 10 | 3) == "ReJSON-RL"
    assert encoding_version(number << 10 | 3) == 3


def test_opcodes() -> None:
    body = (
        b"\x01" + length(1 << 40) + b"\x02\x07" + b"\x03abcd" + b"\x04abcdefgh"
        + b"\x05" + string(b"x" * 100) + b"\x05\xc0\x07" + b"\x00"
    )  # fmt: skip
    found = source(body + b"rest")
    skip_opcodes(found)
    assert found.take(4) == b"rest"


@pytest.mark.parametrize("body", [b"\x06", b"\x01", b"\x05\x04abc", b"\x40\xff"])
def test_damage(body: bytes) -> None:
    with pytest.raises(CorruptRdbError):
        skip_opcodes(source(body))
