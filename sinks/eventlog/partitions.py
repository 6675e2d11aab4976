"""Which partitions of a log a record goes to, and under which key.

Each partition has, in the order of the stream, every record that concerns one of its keys; what
concerns no key concerns all of them. So a partition can be read alone:

    one key                     the partition of the key
    several keys                each partition that one of them belongs to, once
    MOVE, COPY ... DB           the key in the other database is one of the keys
    PUBLISH, SPUBLISH           the partition of the channel; the record has no key
    no key (FLUSHALL, SWAPDB),  every partition; the record has no key
    notices, libraries

The record's key is the database, a colon and the first of its keys that belong to the partition;
`?` stands for a database that is not known. A record that goes to several
partitions has the same `id` in each, and in all but the first a header `copy`.

The partition of a key is CRC-32 (zlib's) of the record's key, modulo the number of partitions. A
command in a MULTI goes where it would go alone; its `tx` says what it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from zlib import crc32

from repltap.sink import AnyRecord, Notice, Record

_CHANNELS = frozenset({"PUBLISH", "SPUBLISH"})
_OTHER_DATABASE = frozenset({"MOVE", "COPY"})

Target = tuple[bytes | None, int]
"""A key, or None, and a partition."""


def record_key(db: int | None, key: bytes) -> bytes:
    """Name a key across databases."""
    return b"?:%b" % key if db is None else b"%d:%b" % (db, key)


class Partitions:
    """The rule, for a log of `count` partitions."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._every: list[Target] = [(None, partition) for partition in range(count)]

    def targets(self, record: AnyRecord) -> Sequence[Target]:
        """Say where a record goes, and under which key."""
        if not isinstance(record, Record):
            if isinstance(record, Notice) or record.key is None:
                return self._every
            named = record_key(record.db, record.key)
            return ((named, crc32(named) % self._count),)
        positions = record.key_positions
        if not positions:
            if record.cmd in _CHANNELS and len(record.words) > 1:
                return ((None, crc32(record.words[1]) % self._count),)
            return self._every
        named = record_key(record.db, record.words[positions[0]])
        if self._count == 1:
            return ((named, 0),)
        if len(positions) == 1 and record.cmd not in _OTHER_DATABASE:
            return ((named, crc32(named) % self._count),)
        return self._several(record)

    def _several(self, record: Record) -> Sequence[Target]:
        found: dict[int, bytes] = {}
        for named in _named_keys(record):
            found.setdefault(crc32(named) % self._count, named)
        return [(named, partition) for partition, named in found.items()]


def _named_keys(record: Record) -> Iterator[bytes]:
    """Give the keys that a command concerns, those in another database included."""
    words = record.words
    for position in record.key_positions:
        yield record_key(record.db, words[position])
    if record.cmd not in _OTHER_DATABASE:
        return
    # MOVE key db; COPY source destination [DB db] [REPLACE].
    db = words[2] if record.cmd == "MOVE" and len(words) == 3 else b""
    for word, after in pairwise(words[3:]):
        if word.upper() == b"DB":
            db = after
    if db.isdigit() and len(db) < 10:
        yield record_key(int(db), words[record.key_positions[-1]])
