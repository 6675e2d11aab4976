"""Hashed, cut, removed; and cut to a size."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repltap.delivery._hot.json_lines import JsonLines
from repltap.delivery.filters import KeyPatterns, RecordFilter, Selection
from repltap.delivery.redaction import Action, Redaction, SizeLimit, cut
from repltap.sink import Record
from tests.delivery.wire import COMMANDS, TABLE, records_of
from tests.stored import command


def record(*words: bytes) -> Record:
    (one,) = records_of(command(*words))
    return one


MSET = record(b"MSET", b"a", b"secret", b"b", b"secret")


def test_hashed() -> None:
    redacted = Redaction(Action.HASH, secret=b"s")(MSET)
    key, value, other, again = redacted.args
    assert (key, other) == (b"a", b"b")
    assert value == again
    assert value.startswith(b"hash:")
    assert len(value) == 37
    assert redacted.keys == [b"a", b"b"]
    assert redacted.redacted
    assert redacted.id == MSET.id
    assert Redaction(Action.HASH, secret=b"t")(MSET).args[1] != value


def test_cut() -> None:
    assert Redaction(Action.CUT, keep_bytes=3)(MSET).args == [b"a", b"sec", b"b", b"sec"]
    assert Redaction(Action.CUT)(MSET).args == [b"a", b"", b"b", b""]


def test_removed() -> None:
    redacted = Redaction(Action.REMOVE)(MSET)
    assert redacted.args == redacted.keys == [b"a", b"b"]
    assert Redaction(Action.REMOVE)(record(b"NOBODYKNOWS", b"x")).args == []


def test_keys_hashed_too() -> None:
    redacted = Redaction(Action.REMOVE, hash_keys=True)(MSET)
    assert redacted.args == redacted.keys
    assert all(key.startswith(b"hash:") for key in redacted.keys)


def test_what_has_nothing_to_redact_is_as_it_was() -> None:
    delete = record(b"DEL", b"a", b"b")
    assert Redaction(Action.HASH)(delete) is delete


def test_only_some_records() -> None:
    wanted = Selection(keys=KeyPatterns(prefixes=(b"user:",)))
    redaction = Redaction(Action.REMOVE, applies=RecordFilter(wanted, Selection(), TABLE))
    assert redaction(record(b"SET", b"user:1", b"v")).args == [b"user:1"]
    assert redaction(record(b"SET", b"order:1", b"v")).args == [b"order:1", b"v"]


@given(COMMANDS, st.sampled_from(list(Action)))
def test_no_value_is_left(words: list[bytes], action: Action) -> None:
    one = record(*words)
    redacted = Redaction(action)(one)
    assert redacted.keys == one.keys
    values = [word for at, word in enumerate(one.words) if at and at not in one.key_positions]
    left = [
        word for at, word in enumerate(redacted.words) if at and at not in redacted.key_positions
    ]
    assert not {value for value in values if value} & set(left)
    assert json.loads(JsonLines().write([redacted])).get("redacted", False) == redacted.redacted


def test_a_limit_of_size() -> None:
    limit = SizeLimit(4)
    large = record(b"MSET", b"longkey", b"x" * 100, b"b", b"yy")
    limited = limit(large)
    assert limited.args == [b"longkey", b"xxxx", b"b", b"yy"]
    assert limited.size == 110
    assert not limited.redacted
    for small in (record(b"APPEND", b"longkey", b"yy"), record(b"FLUSHALL")):
        assert limit(small) is small


@pytest.mark.parametrize(
    ("value", "size", "expected"),
    [
        (b"abc", 3, b"abc"),
        (b"abcd", 3, b"abc"),
        ("aä".encode(), 2, b"a"),
        ("€€".encode(), 5, "€".encode()),
        ("a\U0001f600b".encode(), 4, b"a"),
        ("a\U0001f600b".encode(), 5, "a\U0001f600".encode()),
        (b"\x80" * 10, 5, b"\x80" * 5),
        (b"\xffx" * 5, 5, b"\xffx\xffx\xff"),
        ("ä".encode(), 0, b""),
    ],
)
def test_a_text_stays_a_text(value: bytes, size: int, expected: bytes) -> None:
    assert cut(value, size) == expected


@given(st.text(max_size=20), st.integers(0, 40))
def test_any_text_cut_anywhere_is_text(text: str, size: int) -> None:
    assert text.startswith(cut(text.encode(), size).decode())
