"""Which partitions a record goes to, and under which key: one rule for the sinks that have them.

Each partition has, in the order of the stream, every record that concerns one of its keys; what
concerns no key concerns all of them. So a partition can be read alone:

    one key                     the partition of the key
    several keys                each partition that one of them belongs to, once
    MOVE, COPY ... DB           the key in the other database is one of the keys
    PUBLISH, SPUBLISH           the partition of the channel; the record has no key
    no key (FLUSHALL, SWAPDB),  every partition; the record has no key
    notices, libraries

The record's key is the database, a colon and the first of its keys that belong to the partition;
`?` stands for a database that is not known. A record that goes to several partitions has the same
`id` in each, and in all but the first a header `copy`. A command in a MULTI goes where it would go
alone; its `tx` says what it belongs to.

The partition of a key is a hash of the record's key, modulo the number of partitions: which hash,
the sink says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from repltap.sink import AnyRecord, Notice, Record

BY_KEY = -1
"""Who writes it chooses the partition by the key, with the same hash."""

_CHANNELS = frozenset({"PUBLISH", "SPUBLISH"})
_OTHER_DATABASE = frozenset({"MOVE", "COPY"})

Target = tuple[bytes | None, int]
"""A key, or None, and a partition. A plain tuple: one is made for each record."""


def record_key(db: int | None, key: bytes) -> bytes:
    """Name a key across databases."""
    return b"?:%b" % key if db is None else b"%d:%b" % (db, key)


class Partitions:
    """The rule.

    Args:
        count: How many partitions there are, at least 1.
        hashed: The hash of a key, or of a channel; not negative.
        by_key: Of a record with one key the partition may be left to who writes it (`BY_KEY`).
    """

    def __init__(self, count: int, hashed: Callable[[bytes], int], *, by_key: bool = False) -> None:
        self.count = count
        self._hashed = hashed
        self._by_key = by_key and count > 1
        self._every: list[Target] = [(None, partition) for partition in range(count)]

    def targets(self, record: AnyRecord) -> Sequence[Target]:
        """Say where a record goes, and under which key; the first of them is never left out."""
        if not isinstance(record, Record):
            if isinstance(record, Notice) or record.key is None:
                return self._every
            return (self._one(record_key(record.db, record.key)),)
        positions = record.key_positions
        if not positions:
            if record.cmd in _CHANNELS and len(record.words) > 1:
                return ((None, self._partition(record.words[1])),)
            return self._every
        one = len(positions) == 1 and record.cmd not in _OTHER_DATABASE
        if one or self.count == 1:
            return (self._one(record_key(record.db, record.words[positions[0]])),)
        return self._several(record)

    def _one(self, named: bytes) -> Target:
        return named, BY_KEY if self._by_key else self._partition(named)

    def _several(self, record: Record) -> Sequence[Target]:
        found: dict[int, bytes] = {}
        for named in _named_keys(record):
            found.setdefault(self._partition(named), named)
            if len(found) == self.count:
                break
        return [(named, partition) for partition, named in found.items()]

    def _partition(self, data: bytes) -> int:
        return 0 if self.count == 1 else self._hashed(data) % self.count


def _named_keys(record: Record) -> Iterator[bytes]:
    """Give the keys that a command concerns, those in another database included."""
    words = record.words
    for position in record.key_positions:
        yield record_key(record.db, words[position])
    if record.cmd not in _OTHER_DATABASE:
        return
    # MOVE key db; COPY source destination [DB db] [REPLACE]: of several DB the last one counts.
    db = words[2] if record.cmd == "MOVE" and len(words) == 3 else b""
    for word, after in pairwise(words[3:]):
        if word.upper() == b"DB":
            db = after
    if db.isdigit() and len(db) < 10:
        yield record_key(int(db), words[record.key_positions[-1]])
