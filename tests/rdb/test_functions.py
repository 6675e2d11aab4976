"""The functions of an RDB, and nothing else of it."""

from io import BytesIO

import pytest

from repltap.errors import CorruptRdbError, UnsupportedRdbError
from repltap.rdb import functions
from repltap.rdb.entries import Function, Header
from repltap.rdb.functions import functions_only
from repltap.rdb.reader import RdbReader
from tests.rdb.build import key, rdb, string, strings

ONE, TWO = b"#!lua name=one\n" + b"x" * 300, b"#!lua name=two\n"
KEYS = b"\xfe\x00" + key(0, b"k", string(b"v"))
AUX = b"\xfa" + strings(b"redis-ver", b"7.0.15")
WHOLE = rdb(AUX + b"\xf5" + string(ONE) + b"\xf5" + string(TWO) + KEYS)


@pytest.mark.parametrize("magic", [b"REDIS0010", b"VALKEY080"])
def test_they_are_taken_out(magic: bytes) -> None:
    made = functions_only(BytesIO(magic + WHOLE[9:]).read)
    assert made.startswith(magic)
    header, *found, _ = RdbReader(BytesIO(made).read)
    assert isinstance(header, Header)
    assert found == [Function(ONE), Function(TWO)]


def test_none_are_none() -> None:
    assert functions_only(BytesIO(rdb(KEYS)).read) == b"REDIS0012\xff" + bytes(8)


def test_what_follows_them_is_not_read() -> None:
    assert len(functions_only(BytesIO(WHOLE[:-12] + b"damage here").read)) > 300
    with pytest.raises(CorruptRdbError):
        functions_only(BytesIO(WHOLE[:200]).read)


def test_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "MAX_FUNCTIONS_BYTES", 200)
    with pytest.raises(UnsupportedRdbError, match="more than 200 bytes of functions"):
        functions_only(BytesIO(WHOLE).read)
