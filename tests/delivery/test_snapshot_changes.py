"""Values of snapshots, redacted and cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repltap.delivery.redaction import Action, Redaction
from repltap.delivery.snapshot_changes import SnapshotLimit, SnapshotRedaction, changed
from repltap.rdb.entries import (
    Fields,
    Members,
    ModuleValue,
    Scores,
    StreamConsumer,
    StreamEntries,
    StreamGroup,
    StreamProducers,
)
from repltap.sink import SnapshotRecord
from tests.delivery.snapshots import key, library


def redact(action: Action, *records: SnapshotRecord, **more: object) -> list[SnapshotRecord]:
    redaction = SnapshotRedaction(Redaction(action, **more), None)  # type: ignore[arg-type]
    return [made for made in map(redaction, records) if made is not None]


def hashed(value: bytes) -> bytes:
    return Redaction(Action.HASH).hashed(value)


def in_parts(*parts: bytes) -> list[SnapshotRecord]:
    final = len(parts) - 1
    length = sum(map(len, parts))
    return [
        key(part, part=at, last=at == final, length=length, ordinal=at)
        for at, part in enumerate(parts)
    ]


def upper(value: bytes) -> bytes:
    return value.upper()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"v", b"V"),
        (Members([b"a", b"b"]), Members([b"A", b"B"])),
        (Scores([(b"m", 1.5)]), Scores([(b"M", 0.0)])),
        (Fields([(b"f", b"v", 9)]), Fields([(b"F", b"V", 9)])),
        (StreamEntries([((1, 1), [b"f", b"v"])]), StreamEntries([((1, 1), [b"F", b"V"])])),
        (
            StreamGroup(b"g", (1, 1), 1, {}, [StreamConsumer(b"c", 1, 1, [])]),
            StreamGroup(b"G", (1, 1), 1, {}, [StreamConsumer(b"C", 1, 1, [])]),
        ),
        (
            StreamProducers(1, 2, {b"p": [(b"x", (1, 1))], b"P": [(b"y", (2, 1))]}, 3, 4),
            StreamProducers(1, 2, {b"P": [(b"X", (1, 1)), (b"Y", (2, 1))]}, 3, 4),
        ),
        (ModuleValue("m", 1, 2), ModuleValue("m", 1, 2)),
    ],
)
def test_each_element(value: object, expected: object) -> None:
    assert changed(value, upper, keep_scores=False) == expected


def test_hashed_like_arguments() -> None:
    (made,) = redact(Action.HASH, key(b"secret", payload=b"x"))
    assert made.value == hashed(b"secret")
    assert made.redacted
    assert (made.entry.value, made.entry.payload) == (made.value, None)  # type: ignore[attr-defined]
    (made,) = redact(Action.HASH, key(Members([b"a"]), "set", payload=b"x"))
    assert made.value == Members([hashed(b"a")])
    assert made.entry.payload is None  # type: ignore[attr-defined]


def test_a_string_in_parts_is_hashed_as_one() -> None:
    (made,) = redact(Action.HASH, *in_parts(b"sec", b"r", b"et"), key(b"next", ordinal=3))[:1]
    assert made.value == hashed(b"secret")
    assert (made.part, made.last, made.ordinal) == (0, True, 2)
    assert (made.entry.part, made.entry.last) == (0, True)  # type: ignore[attr-defined]
    first, second = redact(Action.HASH, *in_parts(b"a", b"b"), *in_parts(b"a", b"b"))
    assert first == second


def test_keys_are_hashed_where_it_says_so() -> None:
    (made,) = redact(Action.CUT, key(b"v", name=b"name"), hash_keys=True)
    assert made.key == made.entry.key == hashed(b"name")  # type: ignore[attr-defined]
    assert made.value == b""
    (made,) = redact(Action.HASH, key(b"v", name=b"name"))
    assert made.key == b"name"


def test_removed() -> None:
    (made,) = redact(Action.REMOVE, *in_parts(b"a", b"b", b"c"))
    assert (made.value, made.entry, made.last, made.redacted) == (None, (), True, True)


def test_what_can_not_be_rebuilt() -> None:
    for record in (key(ModuleValue("m", 1, 2), "module", payload=b"secret"), library(b"code")):
        for action in Action:
            (made,) = redact(action, record)
            assert made.entry == ()
            assert made.value != b"code"


@pytest.mark.parametrize(
    ("parts", "limit", "given"),
    [
        ([b"abc"], 3, [b"abc"]),
        ([b"abcd"], 3, [b"abc"]),
        ([b""], 0, [b""]),
        ([b"ab", b"cd", b"ef"], 6, [b"ab", b"cd", b"ef"]),
        ([b"ab", b"cd", b"ef"], 5, [b"ab", b"cd", b"e"]),
        ([b"ab", b"cd", b"ef"], 4, [b"ab", b"cd", b""]),
        ([b"ab", b"cd", b"ef"], 3, [b"ab", b"c"]),
        ([b"ab", b"cd", b"ef"], 1, [b"a"]),
        ([b"ab", b"cd"], 0, [b""]),
    ],
)
def test_a_string_is_cut_as_one(parts: list[bytes], limit: int, given: list[bytes]) -> None:
    whole = sum(map(len, parts))
    made = redact(Action.CUT, *in_parts(*parts), keep_bytes=limit)
    assert [one.value for one in made] == given
    assert [one.last for one in made] == [False] * (len(given) - 1) + [True]
    assert [one.entry.last for one in made] == [one.last for one in made]  # type: ignore[attr-defined]
    if limit:
        bound = SnapshotLimit(limit)
        for _ in range(2):  # the next key begins anew
            limited = [one for one in map(bound, in_parts(*parts)) if one is not None]
            assert [(one.value, one.last) for one in limited] == [(m.value, m.last) for m in made]
            assert limited[-1].size == (whole if whole > limit else None)


def test_a_limit() -> None:
    limit = SnapshotLimit(3)
    small = key(Members([b"abc"]), "list", payload=b"x")
    assert limit(small) is small
    made = limit(key(Members([b"abcd", b"ab"]), "list", payload=b"x"))
    assert made is not None
    assert (made.value, made.size, made.redacted) == (Members([b"abc", b"ab"]), 6, False)
    assert made.entry.payload is None  # type: ignore[attr-defined]
    made = limit(key(Scores([(b"abcd", 1.5)]), "zset"))
    assert made is not None
    assert made.value == Scores([(b"abc", 1.5)])
    module = key(ModuleValue("m", 1, 9), "module", payload=b"xxxx")
    assert limit(module) is module


def test_what_was_cut_is_not_in_the_serialized_form() -> None:
    limit = SnapshotLimit(3)
    limit(key(Members([b"abcd"]), "list", last=False))
    final = limit(key(Members([b"x"]), "list", part=1, payload=b"abcd"))
    assert final is not None
    assert final.entry.payload is None  # type: ignore[attr-defined]
    other = limit(key(Members([b"x"]), "list", payload=b"x"))
    assert other is not None
    assert other.entry.payload == b"x"  # type: ignore[attr-defined]


@given(st.lists(st.binary(max_size=5), min_size=1, max_size=6), st.integers(1, 20))
def test_cut_is_a_beginning(parts: list[bytes], limit: int) -> None:
    made = [one for one in map(SnapshotLimit(limit), in_parts(*parts)) if one is not None]
    whole, given = b"".join(parts), b"".join(one.value for one in made)  # type: ignore[misc]
    assert whole.startswith(given)
    assert len(given) <= limit
    assert [one.last for one in made] == [False] * (len(made) - 1) + [True]
    assert (made[-1].size is None) == (given == whole)
