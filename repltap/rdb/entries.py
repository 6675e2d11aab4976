"""What an RDB holds, as it is read: a header, fields about it, keys with their values, an end.

A large value comes as several entries, numbered by `part`, so that nobody has to hold it. All are
immutable by type; the lists in them belong to who receives them. Named tuples, because a million
keys are a million of them and nothing in Python is made faster.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Header(NamedTuple):
    """The first item.

    Attributes:
        vendor: `redis` or `valkey`: each has its own numbering.
        version: Of the RDB format.
    """

    vendor: str
    version: int

    @property
    def format(self) -> str:
        """Return the magic, such as REDIS0011 or VALKEY080."""
        width = 9 - len(self.vendor)
        return f"{self.vendor.upper()}{self.version:0{width}d}"


class Aux(NamedTuple):
    """A field about the file or its server; may come between keys too."""

    name: bytes
    value: bytes


class Database(NamedTuple):
    """The keys that follow are in this database."""

    db: int


class DatabaseSize(NamedTuple):
    """How many keys, and keys that expire, the database has: a hint for tables."""

    db: int
    keys: int
    expires: int


class SlotInfo(NamedTuple):
    """How many keys, and keys that expire, a cluster slot has: a hint for tables."""

    slot: int
    keys: int
    expires: int


class SlotImport(NamedTuple):
    """A slot migration that was under way (Valkey 9)."""

    job: bytes
    ranges: list[tuple[int, int]]


class Function(NamedTuple):
    """A library of functions: its source, with its `#!` line."""

    code: bytes


class ModuleAux(NamedTuple):
    """What a module keeps beside the keys; not looked into.

    Attributes:
        module: Its type name, nine characters.
        encoding_version: Of the module's own format.
        when: 1 before the keys, 2 behind them.
        size_bytes: In the file.
    """

    module: str
    encoding_version: int
    when: int
    size_bytes: int


class End(NamedTuple):
    """The last item.

    Attributes:
        checksum: What the file says, None where its version has none, 0 where it was off; it has
            been compared.
        size_bytes: Of the RDB.
        goes_on: There is something behind it: an AOF may begin with an RDB. Servers take no notice.
    """

    checksum: int | None
    size_bytes: int
    goes_on: bool


class Members(NamedTuple):
    """Elements of a list, in order, or members of a set."""

    items: list[bytes]


class Scores(NamedTuple):
    """Members of a sorted set with their scores, in the file's order."""

    items: list[tuple[bytes, float]]


class Fields(NamedTuple):
    """Fields of a hash: name, value, and Unix milliseconds at which it expires or None."""

    items: list[tuple[bytes, bytes, int | None]]


class StreamNode(NamedTuple):
    """Some entries of a stream, packed; `stream.entries_of` unpacks them.

    Attributes:
        first: The id that the ids in it are relative to: 8 bytes BE ms, 8 bytes BE sequence.
        listpack: The entries.
        offset: Where it is in the file.
        key: Of the stream.
    """

    first: bytes
    listpack: bytes
    offset: int
    key: bytes


StreamId = tuple[int, int]


class StreamEntries(NamedTuple):
    """Some entries of a stream, unpacked: each with its fields, names and values in turn."""

    items: list[tuple[StreamId, list[bytes]]]


class StreamSummary(NamedTuple):
    """What a stream knows of itself; behind its nodes.

    Attributes:
        length: Entries.
        last: The id that was given out last.
        first: Of the first entry; (0, 0) for none. These three: None before RDB 10.
        max_deleted: The highest id that was deleted.
        entries_added: In all its life.
        groups: How many follow.
    """

    length: int
    last: StreamId
    first: StreamId | None
    max_deleted: StreamId | None
    entries_added: int | None
    groups: int


class StreamConsumer(NamedTuple):
    """A consumer: when it was last seen (and active, since RDB 11), Unix ms, and what it owns."""

    name: bytes
    seen_ms: int
    active_ms: int | None
    pending: list[StreamId]


class StreamGroup(NamedTuple):
    """A consumer group.

    Attributes:
        name: Of the group.
        last: The id that was delivered last.
        entries_read: How many entries it has read, None before RDB 10, -1 where it is not known.
        pending: By id: when it was delivered, Unix ms, and how often.
        consumers: Who has them.
    """

    name: bytes
    last: StreamId
    entries_read: int | None
    pending: dict[StreamId, tuple[int, int]]
    consumers: list[StreamConsumer]


class StreamProducers(NamedTuple):
    """The idempotency state of a stream (RDB 13).

    Attributes:
        duration, max_entries: How long, and how many, ids are remembered.
        producers: By name, the ids that they used and the entries that those made.
        added, duplicates: Counters.
    """

    duration: int
    max_entries: int
    producers: dict[bytes, list[tuple[bytes, StreamId]]]
    added: int
    duplicates: int


class ModuleValue(NamedTuple):
    """A module's value; not looked into.

    Attributes:
        module: Its type name, nine characters.
        encoding_version: Of the module's own format.
        size_bytes: In the file.
    """

    module: str
    encoding_version: int
    size_bytes: int


class Skipped(NamedTuple):
    """The value was passed over, as the reader was told to."""


Value = (
    bytes
    | Members
    | Scores
    | Fields
    | StreamNode
    | StreamEntries
    | StreamSummary
    | StreamGroup
    | StreamProducers
    | ModuleValue
    | Skipped
)


class Entry(NamedTuple):
    """A key with its value, or a part of it.

    Attributes:
        db: Its database.
        key: Its name.
        type: string, list, set, zset, hash, stream or module.
        encoding: How the file holds it: int, raw, listpack, ...
        value: By type; a string may be in parts too.
        expire_at_ms: Unix milliseconds, None for never.
        idle_seconds, frequency: For the LRU or LFU, where the server wrote them.
        part: 0 for the first.
        last: Nothing of this key follows.
        length: Elements of the whole value, nodes of a stream or a list, bytes of a string.
        packed_bytes: Size of the packed form (listpack, ...) that this part came from, of all its
            nodes in a list; 0 for none.
        payload: With the last part, if it was asked for: the type byte and the value as they are
            in the file.
        metadata: How many modules have attached something to the key (RDB 13).
    """

    db: int
    key: bytes
    type: str
    encoding: str
    value: Value
    expire_at_ms: int | None
    idle_seconds: int | None
    frequency: int | None
    part: int
    last: bool
    length: int
    packed_bytes: int
    payload: bytes | None
    metadata: int


class Strings(NamedTuple):
    """A run of small string keys without attributes but an expiry; most keys are such.

    A run, because an `Entry` costs as much as all the rest of reading such a key.

    Attributes:
        db: Their database.
        items: Key, value, and Unix milliseconds at which it expires or None.
    """

    db: int
    items: list[tuple[bytes, bytes, int | None]]


Item = (
    Header
    | Aux
    | Database
    | DatabaseSize
    | SlotInfo
    | SlotImport
    | Function
    | ModuleAux
    | Strings
    | Entry
    | End
)

Wanted = Callable[[int, bytes, str], bool]
"""Tells by database, key and type whether an entry is wanted."""


def expand(run: Strings) -> Iterator[Entry]:
    """Give the keys of a run as entries."""
    for key, value, expire_at_ms in run.items:
        encoding = "int" if is_integer(value) else "raw"
        yield Entry(
            run.db, key, "string", encoding, value, expire_at_ms, None, None, 0, True,
            len(value), 0, None, 0,
        )  # fmt: skip


def is_integer(value: bytes) -> bool:
    """Tell whether a server would hold a string as an integer."""
    if _INTEGER.fullmatch(value) is None:
        return False
    return -(1 << 63) <= int(value) < 1 << 63


_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")
