"""Which partitions of the topic a record goes to, and under which key.

Each partition holds, in the order of the stream, every record that concerns one of its keys. What
concerns no key concerns all of them. So a partition can be read alone:

    one key                     the partition of the key
    several keys                each partition that one of them belongs to, once
    MOVE, COPY ... DB           the key in the other database is one of the keys
    PUBLISH, SPUBLISH           the partition of the channel; the message has no key
    no key, notices, libraries  every partition; the message has no key

The message's key is the database, a colon and the first of the record's keys that belong to that
partition; `?` stands for a database that is not known. The partition of a key is the one that
Java's producer chooses: murmur2 of the message's key.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from repltap.sink import AnyRecord, Notice, Record, SnapshotRecord

BY_KEY = -1
"""librdkafka chooses by the key, as `murmur2` here does, in C."""

_MASK = 0xFFFFFFFF
_M = 0x5BD1E995
_SEED = 0x9747B28C

_CHANNELS = frozenset({"PUBLISH", "SPUBLISH"})
_OTHER_DATABASE = frozenset({"MOVE", "COPY"})


class Target(NamedTuple):
    """Where a copy of a record goes: None for a message without a key."""

    key: bytes | None
    partition: int


def murmur2(data: bytes) -> int:
    """Hash as Java's producer does (`org.apache.kafka.common.utils.Utils.murmur2`)."""
    whole = len(data) & ~3
    h = _SEED ^ len(data)
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = h * _M & _MASK ^ k
    if rest := data[whole:]:
        h = (h ^ int.from_bytes(rest, "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


def message_key(db: int | None, key: bytes) -> bytes:
    """Name a key across databases."""
    return b"?:" + key if db is None else b"%d:%b" % (db, key)


class Partitions:
    """The rule, for a topic of `count` partitions.

    Args:
        count: How many there are, at least 1.
        by_key: A partition may be left to librdkafka (`BY_KEY`).
    """

    def __init__(self, count: int, *, by_key: bool = True) -> None:
        self.count = count
        self._by_key = by_key
        self._every = [Target(None, partition) for partition in range(count)]

    def targets(self, record: AnyRecord) -> list[Target]:
        """Say where a record goes; the first of them is never left out."""
        if isinstance(record, Notice):
            return self._every
        if isinstance(record, SnapshotRecord):
            return self._every if record.key is None else [self._one(record.db, record.key)]
        positions = record.key_positions
        if len(positions) == 1 and record.cmd not in _OTHER_DATABASE:
            return [self._one(record.db, record.words[positions[0]])]
        if not positions:
            if record.cmd in _CHANNELS and len(record.words) > 1:
                return [Target(None, self._partition(record.words[1]))]
            return self._every
        return self._several(record)

    def _one(self, db: int | None, key: bytes) -> Target:
        named = message_key(db, key)
        if self.count == 1:
            return Target(named, 0)
        return Target(named, BY_KEY if self._by_key else self._partition(named))

    def _several(self, record: Record) -> list[Target]:
        if self.count == 1:
            return [Target(message_key(record.db, record.words[record.key_positions[0]]), 0)]
        found: dict[int, bytes] = {}
        for named in _named_keys(record):
            found.setdefault(self._partition(named), named)
            if len(found) == self.count:
                break
        return [Target(named, partition) for partition, named in found.items()]

    def _partition(self, data: bytes) -> int:
        # The sign bit is cut off, as Java's `Utils.toPositive` does.
        return 0 if self.count == 1 else (murmur2(data) & 0x7FFFFFFF) % self.count


def _named_keys(record: Record) -> Iterator[bytes]:
    """Give the keys that a command concerns, those in another database included."""
    for position in record.key_positions:
        yield message_key(record.db, record.words[position])
    if record.cmd in _OTHER_DATABASE:
        words = record.words
        db = None
        if record.cmd == "MOVE" and len(words) == 3:
            db = words[2]
        elif len(words) > 4:  # COPY source destination [DB number] [REPLACE]
            db = next((after for word, after in pairwise(words[3:]) if word.upper() == b"DB"), None)
        if db is not None and db.isdigit() and len(db) < 10:
            yield message_key(int(db), words[record.key_positions[-1]])
