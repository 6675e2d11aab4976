"""Values of every type, in parts: rdb.c `rdbLoadObject`.

Which number means which type depends on the magic: 22 and 23 are Redis's and Valkey's for
different things.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Final, NamedTuple

from repltap.rdb._hot.module import encoding_version, module_name, skip_opcodes
from repltap.rdb._hot.packed import INTSET, LISTPACK, ZIPLIST, ZIPMAP, Form, Window, windows
from repltap.rdb._hot.source import Source
from repltap.rdb._hot.stream import read_group, read_node, read_producers, read_summary
from repltap.rdb.entries import Fields, Members, ModuleValue, Scores, Value


class Part(NamedTuple):
    """Some of a value; the attributes are those of `Entry`."""

    value: Value
    last: bool
    length: int
    packed_bytes: int


Parts = Part | Iterator[Part]
"""A value: whole, or in parts."""

_NAN: Final = 253
_INFINITE: Final = 254
_PLAIN_NODE: Final = 1
_PACKED_NODE: Final = 2


def read_string(source: Source, _key: bytes) -> Parts:
    """Take a string; a long one comes in parts."""
    size, found = source.string_or_parts()
    if isinstance(found, bytes):
        return Part(found, True, size, 0)
    return _string_parts(size, found)


def _string_parts(size: int, pieces: Iterator[bytes]) -> Iterator[Part]:
    left = size
    for piece in pieces:
        left -= len(piece)
        yield Part(piece, not left, size, 0)


def read_members(source: Source, _key: bytes) -> Parts:
    """Take strings: a list or a set."""
    count = source.length()
    limits = source.limits
    items: list[bytes] = []
    if count <= limits.part_items:
        left = count - source.strings(count, limits.part_bytes, items)
        if not left:
            return Part(Members(items), True, count, 0)
    return _more_members(source, count, items)


def _more_members(source: Source, count: int, items: list[bytes]) -> Iterator[Part]:
    """Take the rest of many or large elements, of which `items` are there."""
    limits = source.limits
    left = count - len(items)
    while True:
        if items:
            yield Part(Members(items), left == 0, count, 0)
            if left == 0:
                return
        items = []
        left -= source.strings(min(left, limits.part_items), limits.part_bytes, items)


def read_fields(source: Source, _key: bytes) -> Parts:
    """Take pairs of strings: a hash."""
    count = source.length()
    limits = source.limits
    items: list[bytes] = []
    if count <= limits.part_items:
        left = 2 * count - source.strings(2 * count, limits.part_bytes, items)
        if not left:
            return Part(_fields(items), True, count, 0)
    return _more_fields(source, count, items)


def _more_fields(source: Source, count: int, items: list[bytes]) -> Iterator[Part]:
    limits = source.limits
    left = 2 * count - len(items)
    while True:
        if len(items) & 1:
            items.append(source.string())
            left -= 1
        if items:
            yield Part(_fields(items), left == 0, count, 0)
            if left == 0:
                return
        items = []
        left -= source.strings(min(left, 2 * limits.part_items), limits.part_bytes, items)


def read_scores(source: Source, _key: bytes) -> Iterator[Part]:
    """Take members with scores of 8 bytes."""
    count = left = source.length()
    limits = source.limits
    while True:
        items: list[tuple[bytes, float]] = []
        left -= source.scored(min(left, limits.part_items), limits.part_bytes, items)
        yield Part(Scores(items), left == 0, count, 0)
        if left == 0:
            return


def read_text_scores(source: Source, _key: bytes) -> Iterator[Part]:
    """Take members with scores as text, as before RDB 8."""
    count = left = source.length()
    limits = source.limits
    while True:
        items: list[tuple[bytes, float]] = []
        budget = limits.part_bytes
        room = limits.part_items
        while left and room and budget >= 0:
            member = source.string()
            budget -= len(member)
            items.append((member, _text_score(source)))
            left -= 1
            room -= 1
        yield Part(Scores(items), left == 0, count, 0)
        if left == 0:
            return


def read_expiring_fields(source: Source, _key: bytes) -> Parts:
    """Take a hash whose fields expire (Redis 7.4): times before pairs, relative to the first."""
    earliest = source.signed(8)
    return _timed_fields(source, earliest - 1)


def read_expiring_fields_early(source: Source, _key: bytes) -> Parts:
    """Take a hash whose fields expire, as release candidates of Redis 7.4 wrote it: absolute."""
    return _timed_fields(source, 0)


def _timed_fields(source: Source, base: int) -> Iterator[Part]:
    count = left = source.length()
    limits = source.limits
    while True:
        items: list[tuple[bytes, bytes, int | None]] = []
        budget = limits.part_bytes
        room = limits.part_items
        while left and room and budget >= 0:
            time = source.length()
            field, value = source.string(), source.string()
            budget -= len(field) + len(value)
            items.append((field, value, time + base if time else None))
            left -= 1
            room -= 1
        yield Part(Fields(items), left == 0, count, 0)
        if left == 0:
            return


def read_valkey_fields(source: Source, _key: bytes) -> Iterator[Part]:
    """Take a hash whose fields expire (Valkey 9): absolute times behind pairs, -1 for never."""
    count = left = source.length()
    limits = source.limits
    while True:
        items: list[tuple[bytes, bytes, int | None]] = []
        budget = limits.part_bytes
        room = limits.part_items
        while left and room and budget >= 0:
            field, value = source.string(), source.string()
            budget -= len(field) + len(value)
            time = source.signed(8)
            items.append((field, value, None if time < 0 else time))
            left -= 1
            room -= 1
        yield Part(Fields(items), left == 0, count, 0)
        if left == 0:
            return


def read_packed_expiring_fields(source: Source, key: bytes) -> Parts:
    """Take a packed hash whose fields expire (Redis 7.4); the earliest time comes first."""
    source.signed(8)
    return read_packed_expiring_fields_early(source, key)


def _packed(
    form: Form, step: int, build: Callable[[list[bytes]], Value]
) -> Callable[[Source, bytes], Parts]:
    """Make what reads a packed collection, `step` items of which make an element."""

    def read(source: Source, _key: bytes) -> Parts:
        offset = source.offset
        found = windows(source, form, step)
        if isinstance(found, Window):
            return _packed_part(source, found, step, build, offset)
        return (_packed_part(source, window, step, build, offset) for window in found)

    return read


def _packed_part(
    source: Source, window: Window, step: int, build: Callable[[list[bytes]], Value], offset: int
) -> Part:
    items, last, count, packed_bytes = window
    try:
        return Part(build(items), last, count // step, packed_bytes)
    except ValueError as exc:
        raise source.corrupt("a score or expiry is no number", offset) from exc


def _fields(items: list[bytes]) -> Fields:
    return Fields(list(zip(items[::2], items[1::2], repeat(None))))


def _scores(items: list[bytes]) -> Scores:
    return Scores(list(zip(items[::2], map(float, items[1::2]), strict=True)))


def _expiring_fields(items: list[bytes]) -> Fields:
    """Make fields of triples of name, value and absolute time, 0 for never."""
    times = [int(time) or None for time in items[2::3]]
    return Fields(list(zip(items[::3], items[1::3], times, strict=True)))


read_packed_expiring_fields_early = _packed(LISTPACK, 3, _expiring_fields)


def read_quicklist(source: Source, _key: bytes) -> Parts:
    """Take a list of ziplists (Redis 3.2)."""
    return _nodes(source, False)


def read_quicklist_2(source: Source, _key: bytes) -> Parts:
    """Take a list of listpacks, and of single elements that are too large for one (Redis 7)."""
    return _nodes(source, True)


def _nodes(source: Source, has_containers: bool) -> Iterator[Part]:
    """Take nodes; several small ones make a part."""
    count = source.length()
    limits = source.limits
    items: list[bytes] = []
    packed_bytes = total = 0
    for _ in range(count):
        if items and (len(items) >= limits.part_items or total >= limits.part_bytes):
            yield Part(Members(items), False, count, packed_bytes)
            items, packed_bytes, total = [], 0, 0
        container = source.length() if has_containers else _PACKED_NODE
        if container == _PLAIN_NODE:
            items.append(source.string())
            packed_bytes += len(items[-1])
            total += len(items[-1])
        elif container == _PACKED_NODE:
            found = windows(source, LISTPACK if has_containers else ZIPLIST, 1)
            for window in (found,) if isinstance(found, Window) else found:
                if items and not window.last:  # a node of more than a part
                    yield Part(Members(items), False, count, packed_bytes)
                    items, packed_bytes, total = [], 0, 0
                items += window.items
                packed_bytes += window.packed_bytes
                total += window.packed_bytes
        else:
            raise source.corrupt(f"a list node is of the unknown kind {container}")
    yield Part(Members(items), True, count, packed_bytes)


def _stream(version: int) -> Callable[[Source, bytes], Parts]:
    def read(source: Source, key: bytes) -> Iterator[Part]:
        count = source.length()
        for _ in range(count):
            node = read_node(source, key)
            yield Part(node, False, count, len(node.listpack))
        summary = read_summary(source, version)
        left = summary.groups
        yield Part(summary, not left and version < 4, count, 0)
        while left:
            left -= 1
            yield Part(read_group(source, version), not left and version < 4, count, 0)
        if version >= 4:
            yield Part(read_producers(source), True, count, 0)

    return read


def read_module(source: Source, _key: bytes) -> Parts:
    """Pass over a module's value."""
    start = source.offset
    module_id = source.length()
    skip_opcodes(source)
    name, version = module_name(module_id), encoding_version(module_id)
    return Part(ModuleValue(name, version, source.offset - start), True, 1, 0)


class Type(NamedTuple):
    """A type number.

    Attributes:
        name: What TYPE says.
        encoding: How the file holds it.
        read: Takes a value.
        since: The first RDB version that has it.
        strings: The value is so many strings; as `PER_ELEMENT` says, per element; 0 for neither:
            such values can be passed over without being read.
    """

    name: str
    encoding: str
    read: Callable[[Source, bytes], Parts]
    since: int
    strings: int = 0


ONE: Final = -1

_COMMON: Final = {
    0: Type("string", "raw", read_string, 1, ONE),
    1: Type("list", "linkedlist", read_members, 1, 1),
    2: Type("set", "hashtable", read_members, 1, 1),
    3: Type("zset", "skiplist", read_text_scores, 1),
    4: Type("hash", "hashtable", read_fields, 1, 2),
    5: Type("zset", "skiplist", read_scores, 8),
    7: Type("module", "module", read_module, 8),
    9: Type("hash", "zipmap", _packed(ZIPMAP, 2, _fields), 1, ONE),
    10: Type("list", "ziplist", _packed(ZIPLIST, 1, Members), 1, ONE),
    11: Type("set", "intset", _packed(INTSET, 1, Members), 1, ONE),
    12: Type("zset", "ziplist", _packed(ZIPLIST, 2, _scores), 1, ONE),
    13: Type("hash", "ziplist", _packed(ZIPLIST, 2, _fields), 4, ONE),
    14: Type("list", "quicklist", read_quicklist, 7, 1),
    15: Type("stream", "stream", _stream(1), 9),
    16: Type("hash", "listpack", _packed(LISTPACK, 2, _fields), 10, ONE),
    17: Type("zset", "listpack", _packed(LISTPACK, 2, _scores), 10, ONE),
    18: Type("list", "quicklist", read_quicklist_2, 10),
    19: Type("stream", "stream", _stream(2), 10),
    20: Type("set", "listpack", _packed(LISTPACK, 1, Members), 11, ONE),
    21: Type("stream", "stream", _stream(3), 11),
}

TYPES: Final[dict[str, dict[int, Type]]] = {
    "redis": _COMMON
    | {
        22: Type("hash", "hashtable", read_expiring_fields_early, 12),
        23: Type("hash", "listpackex", read_packed_expiring_fields_early, 12, ONE),
        24: Type("hash", "hashtable", read_expiring_fields, 12),
        25: Type("hash", "listpackex", read_packed_expiring_fields, 12),
        26: Type("stream", "stream", _stream(4), 13),
    },
    "valkey": _COMMON | {22: Type("hash", "hashtable", read_valkey_fields, 80)},
}

UNKNOWN: Final[dict[str, dict[int, str]]] = {
    "redis": {
        6: "a module value of before Redis 4.0",
        27: "a stream with entries that were given back (Redis 8.8)",
        28: "an array (Redis 8.8)",
        29: "a hash with a template",
        30: "a hash with a template",
        31: "a hash with a template",
        32: "a hash with a template",
        33: "a rate limiter (GCRA)",
    },
    "valkey": {6: "a module value of before Redis 4.0", 23: "a path hash (Valkey 9.2)"},
}
"""What is known by name alone: nobody here has seen its layout."""


def skip_value(source: Source, kind: Type, key: bytes) -> None:
    """Pass over a value, without looking into it where that can be."""
    if kind.strings == ONE:
        source.skip_string()
    elif kind.strings:
        source.skip_strings(kind.strings * source.length())
    else:
        parts = kind.read(source, key)
        if not isinstance(parts, Part):
            for _ in parts:
                pass


def _text_score(source: Source) -> float:
    size = source.byte()
    if size == _NAN:
        return float("nan")
    if size >= _INFINITE:
        return float("inf") if size == _INFINITE else float("-inf")
    text = source.take(size)
    try:
        return float(text)
    except ValueError:
        raise source.corrupt(f"{text[:40]!r} is no score", source.offset - size) from None
