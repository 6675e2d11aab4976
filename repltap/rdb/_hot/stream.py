"""Streams of every version: nodes, what a stream knows of itself, groups, idempotency.

Nodes, each an id of 16 bytes and a listpack; length; last id; since RDB 10 first id, highest
deleted id and entries added; groups; since RDB 13 the producers (rdb.c `RDB_TYPE_STREAM_*`).

A node's listpack: how many entries it has, how many deleted ones, the number of master fields,
these fields, 0; then per entry: flags (1 deleted, 2 with the master fields), the two halves of its
id relative to the node's, [field count], fields and values or values only, and the number of
listpack items that it takes (`t_stream.c`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from repltap.errors import CorruptRdbError
from repltap.rdb._hot import listpack
from repltap.rdb._hot.source import Source
from repltap.rdb.entries import (
    StreamConsumer,
    StreamGroup,
    StreamId,
    StreamNode,
    StreamProducers,
    StreamSummary,
)
from repltap.rdb.fault import FaultError

_DELETED: Final = 1
_MASTER_FIELDS: Final = 2
_ID_BYTES: Final = 16
_MASK: Final = (1 << 64) - 1
_WINDOW_ITEMS: Final = 4096

StreamEntry = tuple[StreamId, list[bytes]]


def read_node(source: Source, key: bytes) -> StreamNode:
    """Take a node of a stream; it is compared with its header, not unpacked.

    Raises:
        CorruptRdbError: It is damaged.
    """
    offset = source.offset
    first = source.string()
    if len(first) != _ID_BYTES:
        raise source.corrupt(f"a stream node's id has {len(first)} bytes", offset)
    offset = source.offset
    packed = source.string()
    try:
        listpack.begin(packed)
    except FaultError as exc:
        raise source.corrupt(exc.message, offset) from exc
    return StreamNode(first, packed, offset, key)


def read_summary(source: Source, version: int) -> StreamSummary:
    """Take what a stream knows of itself."""
    length = source.length()
    last = (source.length(), source.length())
    first: StreamId | None = None
    deleted: StreamId | None = None
    added: int | None = None
    if version >= 2:
        first = (source.length(), source.length())
        deleted = (source.length(), source.length())
        added = source.length()
    return StreamSummary(length, last, first, deleted, added, source.length())


def read_group(source: Source, version: int) -> StreamGroup:
    """Take a group with all that is pending in it.

    Raises:
        CorruptRdbError: It is damaged.
    """
    name = source.string()
    last = (source.length(), source.length())
    entries_read = _signed(source.length()) if version >= 2 else None
    pending: dict[StreamId, tuple[int, int]] = {}
    for _ in range(source.length()):
        one = _raw_id(source)
        pending[one] = (source.signed(8), source.length())
    consumers = []
    for _ in range(source.length()):
        consumer = source.string()
        seen = source.signed(8)
        active = source.signed(8) if version >= 3 else None
        owned = [_raw_id(source) for _ in range(source.length())]
        for one in owned:
            if one not in pending:
                raise source.corrupt(f"consumer {consumer!r} owns what is not pending")
        consumers.append(StreamConsumer(consumer, seen, active, owned))
    return StreamGroup(name, last, entries_read, pending, consumers)


def read_producers(source: Source) -> StreamProducers:
    """Take the idempotency state."""
    duration, max_entries = source.length(), source.length()
    producers: dict[bytes, list[tuple[bytes, StreamId]]] = {}
    for _ in range(source.length()):
        name = source.string()
        producers[name] = [
            (source.string(), (source.length(), source.length())) for _ in range(source.length())
        ]
    return StreamProducers(duration, max_entries, producers, source.length(), source.length())


def entries_of(node: StreamNode) -> Iterator[StreamEntry]:
    """Unpack a node.

    Yields:
        Each entry that is not deleted: its id, and its fields and values in turns.

    Raises:
        CorruptRdbError: The node is damaged.
    """
    items = _Items(node.listpack)
    try:
        yield from _entries(items, node.first)
    except (FaultError, ValueError) as exc:
        reason = exc.message if isinstance(exc, FaultError) else "a number is expected"
        message = f"a stream node, at byte {items.position} of it: {reason}"
        raise CorruptRdbError(message, offset=node.offset, key=node.key) from exc


def _entries(items: _Items, first: bytes) -> Iterator[StreamEntry]:
    base_ms = int.from_bytes(first[:8], "big")
    base_sequence = int.from_bytes(first[8:], "big")
    live, deleted = items.number(), items.number()
    master = items.take(items.number())
    items.number()
    while not items.at_end:
        flags = items.number()
        ms = (base_ms + items.number()) & _MASK
        sequence = (base_sequence + items.number()) & _MASK
        if flags & _MASTER_FIELDS:
            fields = [b""] * (2 * len(master))
            fields[0::2] = master
            fields[1::2] = items.take(len(master))
        else:
            fields = items.take(2 * items.number())
        items.number()
        if flags & _DELETED:
            deleted -= 1
        else:
            live -= 1
            yield (ms, sequence), fields
    if live or deleted:
        raise FaultError("it has another number of entries than it says", 0)


class _Items:
    """The items of a listpack, one after another, unpacked a window at a time."""

    def __init__(self, data: bytes) -> None:
        self.position = listpack.HEADER_BYTES  # what the window holds ends there
        self._data = data
        self._window: list[bytes] = []
        self._next = 0

    @property
    def at_end(self) -> bool:
        """Tell whether there is no item left."""
        return self._next >= len(self._window) and self.position >= len(self._data) - 1

    def number(self) -> int:
        """Take an item that is an integer."""
        return int(self._item())

    def take(self, count: int) -> list[bytes]:
        """Take `count` items."""
        if count < 0 or count > len(self._data):
            raise FaultError(f"it has a field count of {count}", self.position)
        stop = self._next + count
        if stop <= len(self._window):
            taken = self._window[self._next : stop]
            self._next = stop
            return taken
        return [self._item() for _ in range(count)]

    def _item(self) -> bytes:
        if self._next >= len(self._window):
            self._window = []
            self._next = 0
            self.position = listpack.read(self._data, self.position, _WINDOW_ITEMS, self._window)
            if not self._window:
                raise FaultError("it is cut off", self.position)
        item = self._window[self._next]
        self._next += 1
        return item


def _raw_id(source: Source) -> StreamId:
    raw = source.take(_ID_BYTES)
    return int.from_bytes(raw[:8], "big"), int.from_bytes(raw[8:], "big")


def _signed(number: int) -> int:
    """Undo what a length does to -1."""
    return number - (1 << 64) if number >> 63 else number
