"""About how much memory keys take in a server: the sum that MEMORY USAGE makes, from a file.

An estimate, of a 64-bit Redis 7 with jemalloc: what a server has packed or shared differs by its
version and its past. `object.c` `objectComputeSize`; sizes of structures are written here.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from repltap.rdb.entries import (
    Entry,
    Fields,
    Item,
    Members,
    ModuleValue,
    Scores,
    StreamGroup,
    StreamNode,
    StreamSummary,
    Strings,
    expand,
)

_OBJECT = 16
_DICT = 56
_DICT_ENTRY = 24
_POINTER = 8
_QUICKLIST = 40
_QUICKLIST_NODE = 32
_SORTED_SET = 16 + 32 + 1024  # zset, zskiplist, its header node of 32 levels
_SKIPLIST_NODE = 24 + 4 * 16 // 3  # a quarter of the nodes has each further level
_EMBEDDED_STRING = 44
_RADIX_NODE = 4 + 30 * 8  # as roughly as `streamRadixTreeMemoryUsage` counts it
_STREAM = 16 + 96 + 24 + _RADIX_NODE
_STREAM_NODE = 16 + _RADIX_NODE  # per listpack
_STREAM_GROUP = 64 + _RADIX_NODE
_STREAM_PENDING = 32 + 2 * (16 + _RADIX_NODE * 17 // 10)  # in the group's tree, and the consumer's
_STREAM_CONSUMER = 80 + _RADIX_NODE


class KeySize(NamedTuple):
    """What a key takes.

    Attributes:
        db, key, type, encoding: Of the key.
        elements: How many; bytes of a string.
        largest: Bytes of its largest element.
        memory_bytes: All it takes, its name and its place in the database too.
    """

    db: int
    key: bytes
    type: str
    encoding: str
    elements: int
    largest: int
    memory_bytes: int


@dataclass(slots=True)
class Total:
    """What keys of one type and encoding take together."""

    keys: int = 0
    elements: int = 0
    memory_bytes: int = 0


class MemoryReport:
    """Adds up a file.

    Args:
        top: How many of the largest keys are kept.

    Attributes:
        totals: By type and encoding.
    """

    def __init__(self, top: int) -> None:
        self.totals: dict[tuple[str, str], Total] = {}
        self._top = top
        self._largest: list[tuple[int, int, KeySize]] = []
        self._count = 0
        self._elements = self._biggest = self._memory_bytes = 0

    def add(self, item: Item) -> Iterator[KeySize]:
        """Take an item; give the keys that end with it."""
        if isinstance(item, Strings):
            for entry in expand(item):
                yield self._finish(entry)
        elif isinstance(item, Entry):
            self._part(item)
            if item.last:
                yield self._finish(item)

    @property
    def largest(self) -> list[KeySize]:
        """Return the largest keys, the largest first."""
        return [size for _, _, size in sorted(self._largest, reverse=True)]

    def _part(self, entry: Entry) -> None:
        value = entry.value
        self._memory_bytes += allocated(entry.packed_bytes) if entry.packed_bytes else 0
        if isinstance(value, Members):
            self._elements += len(value.items)
            self._see(value.items)
            if entry.type == "list" and not entry.packed_bytes:
                self._memory_bytes += sum(_QUICKLIST_NODE + allocated(len(i)) for i in value.items)
            elif entry.encoding == "hashtable":
                self._memory_bytes += sum(_DICT_ENTRY + string_bytes(len(i)) for i in value.items)
        elif isinstance(value, Scores):
            self._elements += len(value.items)
            self._see([member for member, _ in value.items])
            if entry.encoding == "skiplist":
                node = _DICT_ENTRY + allocated(_SKIPLIST_NODE)
                self._memory_bytes += sum(node + string_bytes(len(m)) for m, _ in value.items)
        elif isinstance(value, Fields):
            self._elements += len(value.items)
            for field, text, _ in value.items:
                self._biggest = max(self._biggest, len(field), len(text))
                if entry.encoding == "hashtable":
                    pair = string_bytes(len(field)) + string_bytes(len(text))
                    self._memory_bytes += _DICT_ENTRY + pair
        else:
            self._rare_part(entry)

    def _rare_part(self, entry: Entry) -> None:
        value = entry.value
        if isinstance(value, StreamNode):
            self._memory_bytes += _STREAM_NODE
            self._biggest = max(self._biggest, len(value.listpack))
        elif isinstance(value, StreamSummary):
            self._elements = value.length
        elif isinstance(value, StreamGroup):
            self._memory_bytes += _STREAM_GROUP + _STREAM_PENDING * len(value.pending)
            self._memory_bytes += _STREAM_CONSUMER * len(value.consumers)
        elif isinstance(value, ModuleValue):
            self._elements = 1
            self._memory_bytes += value.size_bytes

    def _see(self, items: list[bytes]) -> None:
        if items:
            self._biggest = max(self._biggest, len(max(items, key=len)))

    def _finish(self, entry: Entry) -> KeySize:
        encoding = entry.encoding
        elements, biggest, memory = self._elements, self._biggest, self._memory_bytes
        self._elements = self._biggest = self._memory_bytes = 0
        if entry.type == "string":
            elements = biggest = entry.length
            memory = 0
            if encoding == "raw":
                if elements <= _EMBEDDED_STRING:
                    encoding = "embstr"
                    memory = allocated(_OBJECT + elements + 4) - _OBJECT
                else:
                    memory = string_bytes(elements)
        else:
            memory += _overhead(entry, elements)
        memory += _OBJECT + _DICT_ENTRY + string_bytes(len(entry.key))
        if entry.expire_at_ms is not None:
            memory += _DICT_ENTRY
        size = KeySize(entry.db, entry.key, entry.type, encoding, elements, biggest, memory)
        self._account(size)
        return size

    def _account(self, size: KeySize) -> None:
        total = self.totals.setdefault((size.type, size.encoding), Total())
        total.keys += 1
        total.elements += size.elements
        total.memory_bytes += size.memory_bytes
        self._count += 1
        ranked = (size.memory_bytes, -self._count, size)  # of equals the first is kept
        if len(self._largest) < self._top:
            heapq.heappush(self._largest, ranked)
        elif self._top and ranked > self._largest[0]:
            heapq.heapreplace(self._largest, ranked)


def allocated(size: int) -> int:
    """Return what jemalloc sets aside: a multiple of 16 up to 128, then four steps a doubling."""
    if size <= 128:
        return 8 if size <= 8 else -(-size // 16) * 16
    step = 1 << (size - 1).bit_length() - 3
    return -(-size // step) * step


def string_bytes(length: int) -> int:
    """Return what a string takes: `sds.c`, a header by its length and a zero byte."""
    if length < 1 << 5:
        return allocated(length + 2)
    if length < 1 << 8:
        return allocated(length + 4)
    return allocated(length + (6 if length < 1 << 16 else 10))


def _overhead(entry: Entry, elements: int) -> int:
    """Return what a collection takes beside its elements."""
    if entry.encoding == "hashtable":
        return _DICT + _slots(elements)
    if entry.encoding == "skiplist":
        return _SORTED_SET + _DICT + _slots(elements)
    if entry.type == "list":
        nodes = entry.length if entry.encoding == "quicklist" else 1
        return _QUICKLIST + nodes * _QUICKLIST_NODE
    return _STREAM if entry.type == "stream" else 0


def _slots(elements: int) -> int:
    """Return what the table of a hash table takes: a power of two of pointers."""
    return _POINTER * max(4, 1 << max(0, elements - 1).bit_length())
