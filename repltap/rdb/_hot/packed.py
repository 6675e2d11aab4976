"""The four packed forms of small collections, read a window at a time.

Hot and pure but for the source that the bytes come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from repltap.errors import CorruptRdbError
from repltap.rdb._hot import intset, listpack, ziplist
from repltap.rdb._hot.source import Source
from repltap.rdb.fault import FaultError


class Form(NamedTuple):
    """A packed form.

    Attributes:
        name: As `OBJECT ENCODING` calls it.
        begin: Compares the header, and returns the number of items or `unknown`.
        read: Reads some items.
        header_bytes: Where the first item is.
        unknown: What the header says when it does not say.
    """

    name: str
    begin: Callable[[bytes], int]
    read: Callable[[bytes, int, int, list[bytes]], int]
    header_bytes: int
    unknown: int


def _begin_zipmap(data: bytes) -> int:
    """Return twice the number of fields, as the other forms count."""
    if len(data) < 2:
        raise FaultError("a zipmap is shorter than its header", 0)
    return 2 * min(data[0], ziplist.ZIPMAP_UNKNOWN_COUNT)


LISTPACK = Form(
    "listpack", listpack.begin, listpack.read, listpack.HEADER_BYTES, listpack.UNKNOWN_COUNT
)
ZIPLIST = Form("ziplist", ziplist.begin, ziplist.read, ziplist.HEADER_BYTES, ziplist.UNKNOWN_COUNT)
INTSET = Form("intset", intset.begin, intset.read, intset.HEADER_BYTES, -1)
ZIPMAP = Form("zipmap", _begin_zipmap, ziplist.read_zipmap, 1, 2 * ziplist.ZIPMAP_UNKNOWN_COUNT)


class Window(NamedTuple):
    """Some items of a packed value.

    Attributes:
        items: The items.
        last: There are no more.
        total: All that the value has.
        packed_bytes: Its size, with the first window, else 0.
    """

    items: list[bytes]
    last: bool
    total: int
    packed_bytes: int


def windows(source: Source, form: Form, step: int) -> Window | Iterator[Window]:
    """Take a packed value.

    Args:
        source: A string is next in it.
        form: What the string is.
        step: Items belong together in so many.

    Returns:
        Its items: a window, or several if they are many.

    Raises:
        CorruptRdbError: It is damaged; from a large one also while its windows are taken.
    """
    offset = source.offset
    data = source.string()
    limit = max(1, source.limits.part_items) * step
    try:
        count = form.begin(data)
        if count == form.unknown:
            count = _count(form, data, limit)
        if count > limit:
            return _several(source, form, data, offset, count, limit)
        return _window(form, data, count, limit, step)
    except FaultError as exc:
        raise _corrupt(source, form, exc, offset) from exc


def _window(form: Form, data: bytes, count: int, limit: int, step: int) -> Window:
    """Take all of a small value."""
    items: list[bytes] = []
    position = form.read(data, form.header_bytes, limit, items)
    if len(items) != count or position < len(data) - 1:
        raise FaultError(f"it has another number of items than it says, {count}", position)
    if count % step:
        raise FaultError(f"its items do not come by {step}", position)
    return Window(items, True, count, len(data))


def _several(
    source: Source, form: Form, data: bytes, offset: int, count: int, limit: int
) -> Iterator[Window]:
    """Take a large value in pieces; `limit` keeps together what belongs together."""
    position = form.header_bytes
    left = count
    packed_bytes = len(data)
    try:
        while left > 0:
            items: list[bytes] = []
            position = form.read(data, position, min(limit, left), items)
            left -= len(items)
            if left and len(items) < limit:
                raise FaultError(f"it has fewer items than it says, {count}", position)
            if not left and position < len(data) - 1:
                raise FaultError(f"it has more items than it says, {count}", position)
            yield Window(items, not left, count, packed_bytes)
            packed_bytes = 0
    except FaultError as exc:
        raise _corrupt(source, form, exc, offset) from exc


def _corrupt(source: Source, form: Form, exc: FaultError, offset: int) -> CorruptRdbError:
    return source.corrupt(f"a {form.name}, at byte {exc.position} of it: {exc.message}", offset)


def _count(form: Form, data: bytes, limit: int) -> int:
    count = 0
    position = form.header_bytes
    while True:
        items: list[bytes] = []
        position = form.read(data, position, limit, items)
        if not items:
            return count
        count += len(items)
