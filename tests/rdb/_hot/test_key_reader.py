"""A key and what was said of it before; whole, in parts, unwanted, unknown."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from repltap.errors import CorruptRdbError, UnsupportedRdbError
from repltap.rdb._hot.key_reader import KeyReader
from repltap.rdb._hot.source import Limits
from repltap.rdb.entries import Entry, Header, Members, Skipped, Wanted
from tests.rdb.build import length, source, string, strings

LIST = string(b"k") + b"\x03" + strings(b"a", b"b", b"c")
BEHIND = string(b"next") + string(b"v")


def keys(
    data: bytes,
    limits: Limits | None = None,
    wanted: Wanted | None = None,
    values: bool = True,
    payloads: Collection[str] = (),
) -> KeyReader:
    reader = KeyReader(source(data, limits), wanted, values, payloads)
    reader.begin(Header("redis", 12))
    reader.db = 3
    reader.expire_at_ms, reader.idle_seconds, reader.frequency, reader.metadata = 1, 2, 4, 5
    return reader


def following(reader: KeyReader) -> tuple[object, ...]:
    """What the key behind is said to have: nothing of the one before."""
    entry = reader.take(0, 0)
    assert isinstance(entry, Entry)
    assert (entry.key, entry.value) == (b"next", b"v")
    return entry[5:8] + entry[13:]


def test_whole() -> None:
    reader = keys(LIST + BEHIND, payloads={"list"})
    assert reader.take(1, 0) == Entry(
        3, b"k", "list", "linkedlist", Members([b"a", b"b", b"c"]), 1, 2, 4, 0, True, 3, 0,
        b"\x01\x03\x01a\x01b\x01c", 5,
    )  # fmt: skip
    assert following(reader) == (None, None, None, 0)


@pytest.mark.parametrize(
    ("value", "encoding"),
    [
        *((b"\xc0\x05", "int"), (b"\xc1\x05\x05", "int"), (b"\xc2\x05\x05\x05\x05", "int")),
        *((b"\xc3\x02\x01\x00a", "raw"), (string(b"5" * 30), "raw")),
    ],
)
def test_encodings_of_strings(value: bytes, encoding: str) -> None:
    entry = keys(string(b"k") + value).take(0, 0)
    assert isinstance(entry, Entry)
    assert entry.encoding == encoding


def test_in_parts() -> None:
    reader = keys(LIST + BEHIND, Limits(part_items=2), payloads={"list"})
    parts = reader.take(1, 0)
    assert not isinstance(parts, Entry)
    assert parts is not None
    found = list(parts)
    assert [(one.value, one.part, one.last, one.payload) for one in found] == [
        (Members([b"a", b"b"]), 0, False, None),
        (Members([b"c"]), 1, True, b"\x01\x03\x01a\x01b\x01c"),
    ]
    assert {one[5:8] + one[13:] for one in found} == {(1, 2, 4, 5)}
    assert following(reader) == (None, None, None, 0)


def test_without_its_value() -> None:
    entry = keys(LIST, values=False, payloads={"list"}).take(1, 0)
    assert isinstance(entry, Entry)
    assert (entry.value, entry.payload) == (Skipped(), b"\x01\x03\x01a\x01b\x01c")


def test_unwanted() -> None:
    asked: list[tuple[int, bytes, str]] = []

    def wanted(db: int, key: bytes, kind: str) -> bool:
        asked.append((db, key, kind))
        return key == b"next"

    reader = keys(LIST + BEHIND, wanted=wanted)
    assert reader.take(1, 0) is None
    assert following(reader) == (None, None, None, 0)
    assert asked == [(3, b"k", "list"), (3, b"next", "string")]


def test_what_is_wrong_is_said_of_the_key() -> None:
    with pytest.raises(UnsupportedRdbError, match="at byte 7 of key b'k': the type 99 of redis"):
        keys(LIST).take(99, 7)
    with pytest.raises(CorruptRdbError, match="at byte 5 of key b'k': the file is cut off"):
        keys(LIST[:5]).take(1, 0)
    parts = keys(LIST[:5], Limits(part_items=1)).take(1, 0)
    assert not isinstance(parts, Entry)
    assert parts is not None
    assert next(parts).value == Members([b"a"])
    with pytest.raises(CorruptRdbError, match="at byte 5 of key b'k': the file is cut off"):
        list(parts)


@pytest.mark.parametrize("packed", [b"\x01ab\xe0\xf7\x01", b"\x01ab\xe0\xf7\x01\x00"])
def test_a_large_compressed_string_comes_in_parts(packed: bytes) -> None:
    head = string(b"k") + b"\xc3" + length(len(packed)) + length(258)
    reader = keys(head + packed + BEHIND, Limits(part_bytes=100), payloads={"string"})
    parts = reader.take(0, 0)
    assert not isinstance(parts, Entry)
    assert parts is not None
    if len(packed) == 6:
        found = list(parts)
        assert [one.value for one in found] == [b"ab" * 50, b"ab" * 50, b"ab" * 29]
        assert [(one.last, one.length) for one in found] == [(False, 258)] * 2 + [(True, 258)]
        assert found[-1].payload == b"\x00" + head[2:] + packed
    else:
        with pytest.raises(CorruptRdbError, match="of key b'k': a compressed string: packed data"):
            list(parts)
