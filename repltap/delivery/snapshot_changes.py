"""What is done to the values of a snapshot before a sink sees them: redaction, a limit of size.

Every element counts as a value of its own, as the arguments of commands do: members, names and
values of fields, names of groups and consumers. The score of a member is 0 where the member is
redacted, a library of functions is one value. What stays: names of types and modules, counts, the
ids of stream entries, and when keys and fields expire. The serialized form goes with the first
value that was changed, and a value that nothing is left of can't be rebuilt.

A string that comes in parts is hashed as a whole, and cut as a whole: what is behind the cut is not
given. So these classes have to see every part of a key, in order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from repltap.delivery.redaction import Action, Hasher, Redaction, cut
from repltap.rdb._hot.stream import entries_of
from repltap.rdb.entries import (
    Entry,
    Fields,
    Members,
    ModuleValue,
    Scores,
    StreamEntries,
    StreamGroup,
    StreamNode,
    StreamProducers,
)
from repltap.sink import SnapshotRecord

_Change = Callable[[bytes], bytes]


class SnapshotRedaction:
    """Redacts records of a snapshot.

    Args:
        redaction: What is done.
        applies: Tells which records are redacted.
    """

    def __init__(
        self, redaction: Redaction, applies: Callable[[SnapshotRecord], bool] | None
    ) -> None:
        self._redaction = redaction
        self._applies = applies
        self._hasher: Hasher | None = None  # of a string that comes in parts
        self._kept = 0  # how much of such a one was given

    def __call__(self, record: SnapshotRecord) -> SnapshotRecord | None:
        """Redact a record; None for a part that nothing is left of."""
        if self._applies is not None and not self._applies(record):
            return record
        redaction = self._redaction
        if redaction.hash_keys and record.key is not None:
            record = _with_key(record, redaction.hashed(record.key))
        if redaction.action is Action.REMOVE:
            gone = record._replace(value=None, last=True, redacted=True, entry=())
            return None if record.part else gone
        if record.type == "module":
            return record._replace(redacted=True, entry=())
        if isinstance(record.value, bytes) and record.type == "string":
            return self._string(record, record.value)
        value = changed(record.value, self._change, keep_scores=False)
        made = _with_value(record, value)._replace(redacted=True)
        return made._replace(entry=()) if record.type == "function" else made

    def _change(self, value: bytes) -> bytes:
        redaction = self._redaction
        if redaction.action is Action.CUT:
            return cut(value, redaction.keep_bytes)
        return redaction.hashed(value)

    def _string(self, record: SnapshotRecord, value: bytes) -> SnapshotRecord | None:
        if record.last and not record.part:
            return _with_value(record, self._change(value))._replace(redacted=True)
        if self._redaction.action is Action.CUT:
            if not record.part:
                self._kept = 0
            made, self._kept = _cut_part(record, value, self._kept, self._redaction.keep_bytes)
            return None if made is None else made._replace(redacted=True)
        if not record.part or self._hasher is None:
            self._hasher = self._redaction.hasher()
        self._hasher.update(value)
        if not record.last:
            return None
        whole = _with_value(record, self._hasher.text())
        self._hasher = None
        return _as_whole(whole)._replace(redacted=True)


class SnapshotLimit:
    """Cuts values of a snapshot that are too large for a sink; modules are given whole.

    Args:
        value_bytes: What one value may have.
    """

    def __init__(self, value_bytes: int) -> None:
        self._limit = value_bytes
        self._given = 0  # how much of a string in parts was given
        self._cut = False  # something of the key was

    def __call__(self, record: SnapshotRecord) -> SnapshotRecord | None:
        """Cut what is too large; None for a part behind the cut."""
        value = record.value
        if not record.part:
            self._given, self._cut = 0, False
        if isinstance(value, bytes) and record.type == "string":
            made, self._given = _cut_part(record, value, self._given, self._limit)
            if made is None or made is record:
                return made
            size = record.entry.length if isinstance(record.entry, Entry) else 0
            return made._replace(size=max(size, len(value)))
        if value is None or isinstance(value, ModuleValue):
            return record
        limit = self._limit
        made_value = changed(value, lambda one: cut(one, limit), keep_scores=True)
        if made_value != _unpacked(value):
            self._cut = True
            made = _with_value(record, made_value)._replace(size=_size(_unpacked(value)))
            return made._replace(entry=()) if record.type == "function" else made
        if self._cut and isinstance(record.entry, Entry):
            # The serialized form has what was cut before.
            return record._replace(entry=record.entry._replace(payload=None))
        return record


def changed(value: object, change: _Change, *, keep_scores: bool) -> Any:  # Any: as the value
    """Change each element of a value.

    Args:
        value: Of an `Entry`, or bytes.
        change: What is done with each of the bytes in it.
        keep_scores: Whether scores stay what they are.

    Returns:
        A value of the same kind; the node of a stream comes back unpacked.
    """
    if isinstance(value, bytes):
        return change(value)
    if isinstance(value, Members):
        return Members([change(item) for item in value.items])
    if isinstance(value, Scores):
        return Scores(
            [(change(member), score if keep_scores else 0.0) for member, score in value.items]
        )
    if isinstance(value, Fields):
        return Fields([(change(field), change(held), time) for field, held, time in value.items])
    if isinstance(value, StreamNode | StreamEntries):
        found = value.items if isinstance(value, StreamEntries) else entries_of(value)
        return StreamEntries([(one, [change(word) for word in words]) for one, words in found])
    if isinstance(value, StreamGroup):
        consumers = [one._replace(name=change(one.name)) for one in value.consumers]
        return value._replace(name=change(value.name), consumers=consumers)
    if isinstance(value, StreamProducers):
        producers: dict[bytes, list[tuple[bytes, tuple[int, int]]]] = {}
        for name, ids in value.producers.items():
            # Two names may be the same, cut.
            producers.setdefault(change(name), []).extend((change(used), one) for used, one in ids)
        return value._replace(producers=producers)
    return value


def _unpacked(value: object) -> object:
    return StreamEntries(list(entries_of(value))) if isinstance(value, StreamNode) else value


def _size(value: object) -> int:
    """Add up the bytes of a value's elements."""
    total = 0

    def count(one: bytes) -> bytes:
        nonlocal total
        total += len(one)
        return one

    changed(value, count, keep_scores=True)
    return total


def _cut_part(
    record: SnapshotRecord, value: bytes, given: int, limit: int
) -> tuple[SnapshotRecord | None, int]:
    """Cut a string, or a part of it, of which so much was given already.

    Returns:
        The record, the last one where something is cut; None behind that. And what was given.
    """
    if given > limit:
        return None, given
    left = limit - given
    if len(value) <= left and (left or not record.part or not value):
        return record, given + len(value)
    return _with_value(record, cut(value, left), last=True), limit + 1


def _with_key(record: SnapshotRecord, key: bytes) -> SnapshotRecord:
    entry, value = record.entry, record.value
    if isinstance(value, StreamNode):
        value = value._replace(key=key)
    if isinstance(entry, Entry):
        entry = entry._replace(key=key)
        if isinstance(entry.value, StreamNode):
            entry = entry._replace(value=entry.value._replace(key=key))
    return record._replace(key=key, value=value, entry=entry)


def _with_value(
    record: SnapshotRecord,
    value: Any,
    *,
    last: bool | None = None,  # Any: as the entry's
) -> SnapshotRecord:
    last = record.last if last is None else last
    entry = record.entry
    if isinstance(entry, Entry):
        entry = entry._replace(value=value, payload=None, last=last)
    return record._replace(value=value, last=last, entry=entry)


def _as_whole(record: SnapshotRecord) -> SnapshotRecord:
    entry = record.entry
    if isinstance(entry, Entry):
        entry = entry._replace(part=0)
    return record._replace(part=0, entry=entry)
