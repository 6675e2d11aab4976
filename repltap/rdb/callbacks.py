"""rdbtools' callbacks on files that its own parser refuses: it stops at RDB 9.

Drives anything with the methods of `rdbtools.parser.RdbCallback`, with the arguments that rdbtools
gives: keys are bytes, values too but where the file holds an integer; times are naive UTC
datetimes; scores are what they are in the file, integers, floats, or text. What rdbtools has no
word for is left out: functions, slots, the expiry of fields.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Protocol

from repltap.rdb.entries import (
    Aux,
    Database,
    DatabaseSize,
    End,
    Entry,
    Fields,
    Header,
    Item,
    Members,
    ModuleAux,
    ModuleValue,
    Scores,
    StreamGroup,
    StreamId,
    StreamNode,
    StreamSummary,
    Strings,
    expand,
    is_integer,
)

PAYLOADS = frozenset({"module"})
"""Of these types the reader must give payloads: a callback may ask for a module's bytes."""

Info = dict[str, object]
Expiry = datetime | None
Element = bytes | int

_TEXT_SCORES_BEFORE = 8
_PACKED = ("ziplist", "listpack", "listpackex", "quicklist", "intset")
_PACKED_LIMIT = 1 << 63
_STRING_LIMIT = 1 << 31
"""Integers of up to 32 bits are strings of their own kind in a file (`rdbTryIntegerEncoding`)."""
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive, as rdbtools has it
_LAST_SECOND = 221_925_052_800  # where rdbtools stops counting


class Callback(Protocol):
    """The part of `rdbtools.parser.RdbCallback` that is called."""

    def start_rdb(self) -> None: ...
    def aux_field(self, key: bytes, value: Element) -> object: ...
    def start_database(self, db_number: int) -> None: ...
    def db_size(self, db_size: int, expires_size: int) -> None: ...
    def end_database(self, db_number: int) -> None: ...
    def end_rdb(self) -> None: ...
    def set(self, key: bytes, value: Element, expiry: Expiry, info: Info) -> None: ...
    def start_hash(self, key: bytes, length: int, expiry: Expiry, info: Info) -> None: ...
    def hset(self, key: bytes, field: Element, value: Element) -> None: ...
    def end_hash(self, key: bytes) -> None: ...
    def start_set(self, key: bytes, cardinality: int, expiry: Expiry, info: Info) -> None: ...
    def sadd(self, key: bytes, member: Element) -> None: ...
    def end_set(self, key: bytes) -> None: ...
    def start_list(self, key: bytes, expiry: Expiry, info: Info) -> None: ...
    def rpush(self, key: bytes, value: Element) -> None: ...
    def end_list(self, key: bytes, info: Info) -> None: ...
    def start_sorted_set(self, key: bytes, length: int, expiry: Expiry, info: Info) -> None: ...
    def zadd(self, key: bytes, score: float | bytes, member: Element) -> None: ...
    def end_sorted_set(self, key: bytes) -> None: ...
    def start_stream(
        self, key: bytes, listpacks_count: int, expiry: Expiry, info: Info
    ) -> None: ...
    def stream_listpack(self, key: bytes, entry_id: bytes, data: bytes) -> None: ...
    def end_stream(
        self, key: bytes, items: int, last_entry_id: str, cgroups: list[Info]
    ) -> None: ...
    def start_module(
        self, key: bytes | None, module_name: str, expiry: Expiry, info: Info
    ) -> bool: ...
    def end_module(
        self, key: bytes | None, buffer_size: int, buffer: bytes | None = None
    ) -> None: ...


def drive(callback: Callback, items: Iterable[Item]) -> None:
    """Call a callback for everything in an RDB.

    Args:
        callback: Such as `rdbtools.JSONCallback(out)`.
        items: A reader that gives `PAYLOADS`.

    Raises:
        RdbError: As the reader does.
    """
    driver = _Driver(callback)
    for item in items:
        if isinstance(item, Strings):
            for entry in expand(item):
                driver.take_entry(entry)
        elif isinstance(item, Entry):
            driver.take_entry(item)
        else:
            driver.take(item)


class _Driver:
    def __init__(self, callback: Callback) -> None:
        self._callback = callback
        self._version = 0
        self._db: int | None = None
        self._pieces: list[bytes] = []
        self._packed_bytes = 0
        self._summary: StreamSummary | None = None
        self._groups: list[Info] = []

    def take(self, item: Item) -> None:
        callback = self._callback
        if isinstance(item, Header):
            self._version = item.version
            callback.start_rdb()
        elif isinstance(item, Aux):
            callback.aux_field(item.name, _stored(item.value, _STRING_LIMIT))
        elif isinstance(item, Database):
            if self._db is not None:
                callback.end_database(self._db)
            self._db = item.db
            callback.start_database(item.db)
        elif isinstance(item, DatabaseSize):
            callback.db_size(item.keys, item.expires)
        elif isinstance(item, ModuleAux):
            callback.start_module(None, item.module, None, {"idle": None, "freq": None})
            callback.end_module(None, item.size_bytes - 1)  # without the opcode
        elif isinstance(item, End):
            callback.end_database(self._db or 0)
            callback.end_rdb()

    def take_entry(self, entry: Entry) -> None:
        value = entry.value
        if isinstance(value, bytes):
            self._string(entry, value)
        elif isinstance(value, Members):
            if entry.type == "list":
                self._list(entry, value)
            else:
                self._set(entry, value)
        elif isinstance(value, Scores):
            self._sorted_set(entry, value)
        elif isinstance(value, Fields):
            self._hash(entry, value)
        elif isinstance(value, ModuleValue):
            self._module(entry, value)
        else:
            self._stream(entry)

    def _string(self, entry: Entry, value: bytes) -> None:
        if entry.part or not entry.last:
            self._pieces.append(value)
            if not entry.last:
                return
            value = b"".join(self._pieces)
            self._pieces = []
        stored = _stored(value, _STRING_LIMIT)
        self._callback.set(entry.key, stored, _expiry(entry), _info(entry, "string"))

    def _list(self, entry: Entry, value: Members) -> None:
        callback = self._callback
        key = entry.key
        encoding = entry.encoding
        sizes: Info = {}
        if not entry.part:
            self._packed_bytes = 0
            sizes = _sizes(entry)
            if encoding == "quicklist":
                sizes = {"zips": entry.length}
            callback.start_list(key, _expiry(entry), _info(entry, encoding) | sizes)
        self._packed_bytes += entry.packed_bytes
        limit = _limit(entry)
        for item in value.items:
            callback.rpush(key, _stored(item, limit))
        if entry.last:
            info: Info = {"encoding": encoding}
            if encoding == "quicklist":
                info |= {"zips": entry.length, "sizeof_value": self._packed_bytes}
            callback.end_list(key, info)

    def _set(self, entry: Entry, value: Members) -> None:
        callback = self._callback
        if not entry.part:
            info = _info(entry, entry.encoding) | _sizes(entry)
            callback.start_set(entry.key, entry.length, _expiry(entry), info)
        limit = _limit(entry)
        for item in value.items:
            callback.sadd(entry.key, _stored(item, limit))
        if entry.last:
            callback.end_set(entry.key)

    def _hash(self, entry: Entry, value: Fields) -> None:
        callback = self._callback
        if not entry.part:
            info = _info(entry, entry.encoding) | _sizes(entry)
            callback.start_hash(entry.key, entry.length, _expiry(entry), info)
        limit = _limit(entry)
        for field, text, _ in value.items:
            callback.hset(entry.key, _stored(field, limit), _stored(text, limit))
        if entry.last:
            callback.end_hash(entry.key)

    def _sorted_set(self, entry: Entry, value: Scores) -> None:
        callback = self._callback
        if not entry.part:
            info = _info(entry, entry.encoding) | _sizes(entry)
            callback.start_sorted_set(entry.key, entry.length, _expiry(entry), info)
        limit = _limit(entry)
        packed = entry.encoding in _PACKED
        as_text = not packed and self._version < _TEXT_SCORES_BEFORE
        for member, score in value.items:
            shown = _packed_score(score) if packed else _text_score(score) if as_text else score
            callback.zadd(entry.key, shown, _stored(member, limit))
        if entry.last:
            callback.end_sorted_set(entry.key)

    def _module(self, entry: Entry, value: ModuleValue) -> None:
        callback = self._callback
        info: Info = {"idle": entry.idle_seconds, "freq": entry.frequency}
        keep = callback.start_module(entry.key, value.module, _expiry(entry), info)
        callback.end_module(entry.key, value.size_bytes, entry.payload if keep else None)

    def _stream(self, entry: Entry) -> None:
        callback = self._callback
        value = entry.value
        if not entry.part:
            info = _info(entry, "listpack")
            callback.start_stream(entry.key, entry.length, _expiry(entry), info)
        if isinstance(value, StreamNode):
            callback.stream_listpack(entry.key, value.first, value.listpack)
        elif isinstance(value, StreamSummary):
            self._summary = value
            self._groups = []
        elif isinstance(value, StreamGroup):
            self._groups.append(_group(value))
        if entry.last:
            assert self._summary is not None
            last = _id(self._summary.last)
            callback.end_stream(entry.key, self._summary.length, last, self._groups)


def _info(entry: Entry, encoding: str) -> Info:
    return {"encoding": encoding, "idle": entry.idle_seconds, "freq": entry.frequency}


def _sizes(entry: Entry) -> Info:
    return {"sizeof_value": entry.packed_bytes} if entry.packed_bytes else {}


def _limit(entry: Entry) -> int:
    """Return up to where the file holds the integers of a value as such."""
    return _PACKED_LIMIT if entry.encoding in _PACKED else _STRING_LIMIT


def _stored(value: bytes, limit: int) -> Element:
    """Return what the file holds for a value."""
    if is_integer(value) and -limit <= int(value) < limit:
        return int(value)
    return value


def _packed_score(score: float) -> float:
    """Return an integer where the server's text, `%.17g`, is one; -0 is none to it."""
    if score.is_integer() and abs(score) < 1e17 and str(score) != "-0.0":
        return int(score)
    return score


def _text_score(score: float) -> float | bytes:
    """Return the text of before RDB 8 (`rdbSaveDoubleValue`), as rdbtools does."""
    if not math.isfinite(score):
        return score
    if score.is_integer() and abs(score) < 1 << 52:
        return b"%d" % score
    return b"%.17g" % score


def _expiry(entry: Entry) -> Expiry:
    return None if entry.expire_at_ms is None else _moment(entry.expire_at_ms)


def _moment(ms: int) -> datetime:
    seconds = min(ms // 1000, _LAST_SECOND)
    return _EPOCH + timedelta(seconds=seconds, milliseconds=ms % 1000)


def _group(group: StreamGroup) -> Info:
    pending = [
        {"id": _raw_id(one), "delivery_time": _moment(time), "delivery_count": count}
        for one, (time, count) in group.pending.items()
    ]
    consumers = [
        {
            "name": consumer.name,
            "seen_time": _moment(consumer.seen_ms),
            "pending": [{"id": _raw_id(one)} for one in consumer.pending],
        }
        for consumer in group.consumers
    ]
    return {
        "name": group.name,
        "last_entry_id": _id(group.last),
        "pending": pending,
        "consumers": consumers,
    }


def _id(one: StreamId) -> str:
    return f"{one[0]}-{one[1]}"


def _raw_id(one: StreamId) -> bytes:
    return one[0].to_bytes(8, "big") + one[1].to_bytes(8, "big")
