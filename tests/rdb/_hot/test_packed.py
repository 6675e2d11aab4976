from collections.abc import Iterator

import pytest

from repltap.errors import CorruptRdbError
from repltap.rdb._hot.packed import INTSET, LISTPACK, ZIPLIST, ZIPMAP, Form, Window, windows
from repltap.rdb._hot.source import Limits
from tests.rdb.build import listpack, lp_text, source, string, ziplist

LETTERS = [b"%c" % code for code in b"abcdefgh"]
PACKED = listpack(map(lp_text, LETTERS))


def all_of(
    data: bytes, form: Form = LISTPACK, step: int = 2, part_items: int = 100
) -> list[Window]:
    found = windows(source(string(data), Limits(part_items=part_items)), form, step)
    return [found] if isinstance(found, Window) else list(found)


def test_a_small_one_is_one_window() -> None:
    assert all_of(PACKED) == [Window(LETTERS, True, 8, len(PACKED))]


def test_a_large_one_is_several() -> None:
    found = all_of(PACKED, part_items=3)
    assert [one.items for one in found] == [LETTERS[:6], LETTERS[6:]]
    assert [(one.last, one.total, one.packed_bytes) for one in found] == [
        (False, 8, len(PACKED)),
        (True, 8, 0),
    ]


@pytest.mark.parametrize("part_items", [1, 4, 100])
def test_a_count_that_is_not_known(part_items: int) -> None:
    data = listpack(map(lp_text, LETTERS), count=65535)
    found = all_of(data, part_items=part_items)
    assert [item for one in found for item in one.items] == LETTERS
    assert {one.total for one in found} == {8}
    zipmap = b"\xfe" + b"\x01a\x01\x00b" * 5 + b"\xff"
    assert all_of(zipmap, ZIPMAP)[0].total == 10


@pytest.mark.parametrize("count", [7, 9, 100])
@pytest.mark.parametrize("part_items", [1, 2, 100])
def test_a_wrong_count(count: int, part_items: int) -> None:
    for form, data in (
        (LISTPACK, listpack(map(lp_text, LETTERS), count=count)),
        (ZIPLIST, ziplist([b"\x01a"] * 8, count=count)),
        (INTSET, b"\x02\x00\x00\x00" + count.to_bytes(4, "little") + bytes(16)),
    ):
        with pytest.raises(CorruptRdbError):
            all_of(data, form, part_items=part_items)


def test_items_behind_those_it_has() -> None:
    with pytest.raises(CorruptRdbError, match="another number of items"):
        all_of(listpack(map(lp_text, LETTERS), count=4), part_items=2)


def test_items_that_do_not_fit_together() -> None:
    with pytest.raises(CorruptRdbError, match="do not come by 3"):
        all_of(PACKED, step=3)


def test_an_empty_one() -> None:
    assert all_of(listpack([])) == [Window([], True, 0, 7)]
    with pytest.raises(CorruptRdbError, match="a zipmap is shorter"):
        all_of(b"", ZIPMAP)


def test_the_error_says_where() -> None:
    bytes_before = source(b"xyz" + string(b"junk"))
    bytes_before.take(3)
    with pytest.raises(CorruptRdbError, match="at byte 3: a listpack, at byte 0 of it") as caught:
        windows(bytes_before, LISTPACK, 1)
    assert caught.value.offset == 3


def test_windows_are_lazy() -> None:
    found = windows(source(string(PACKED), Limits(part_items=1)), LISTPACK, 2)
    assert isinstance(found, Iterator)
    assert not isinstance(found, Window)
    assert next(found).items == LETTERS[:2]
