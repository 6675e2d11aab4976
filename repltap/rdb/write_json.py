"""JSON lines: a record per key, several for a large one, as the sinks write them.

The names are those of the record envelope. `value` by type: a string; an array (list, set); an
array of [member, score] (zset; a score that JSON has no number for is a string); an object (hash;
`field_expire_at_ms` beside it for what expires); objects with `entries`, `summary`, `group` or
`idempotency` (stream). What is not valid UTF-8 makes every value of its record base64, and `enc`
says so; names of keys and fields are values too.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable

import orjson

from repltap.rdb._hot.stream import entries_of
from repltap.rdb.entries import (
    Aux,
    Database,
    DatabaseSize,
    End,
    Entry,
    Fields,
    Function,
    Header,
    Item,
    Members,
    ModuleAux,
    ModuleValue,
    Scores,
    SlotImport,
    StreamEntries,
    StreamGroup,
    StreamId,
    StreamNode,
    StreamProducers,
    StreamSummary,
    Strings,
)

ENVELOPE_VERSION = 1

Text = Callable[[bytes], str]
Fielded = dict[str, object]
"""The fields of a record."""


class JsonWriter:
    """Writes records."""

    def write(self, item: Item) -> bytes:
        """Write an item as a line, or several; b"" for what is a hint to a server alone."""
        if isinstance(item, Strings):
            return _strings(item)
        if isinstance(item, Entry):
            return encode(lambda text: _entry(item, text))
        return encode(lambda text: _other(item, text))


def _strings(run: Strings) -> bytes:
    """Write a run of strings; put together here, that takes a third of what a dict does."""
    head = b'{"v":%d,"kind":"snapshot","db":%d,"keys":[' % (ENVELOPE_VERSION, run.db)
    dumps = orjson.dumps
    lines = []
    for key, value, expire_at_ms in run.items:
        tail = b"" if expire_at_ms is None else b',"expire_at_ms":%d' % expire_at_ms
        try:
            name, text = dumps(key.decode()), dumps(value.decode())
        except UnicodeDecodeError:
            name, text = dumps(_base64(key)), dumps(_base64(value))
            tail += b',"enc":"base64"'
        lines.append(b'%b%b],"type":"string","value":%b%b}\n' % (head, name, text, tail))
    return b"".join(lines)


def encode(build: Callable[[Text], Fielded | None]) -> bytes:
    """Write a record with its values as text, or all of them in base64.

    Args:
        build: Makes the record, with what makes text of a value; None for nothing to write.
    """
    try:
        record = build(_utf8)
    except UnicodeDecodeError:
        record = build(_base64)
        if record is not None:
            record["enc"] = "base64"
    if record is None:
        return b""
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def _entry(entry: Entry, text: Text) -> Fielded:
    record: Fielded = {"v": ENVELOPE_VERSION, "kind": "snapshot", "db": entry.db}
    record["keys"] = [text(entry.key)]
    record["type"] = entry.type
    return record | value_fields(entry.value, text) | _key_fields(entry)


def _key_fields(entry: Entry) -> Fielded:
    record: Fielded = {}
    if entry.expire_at_ms is not None:
        record["expire_at_ms"] = entry.expire_at_ms
    if entry.idle_seconds is not None:
        record["idle_seconds"] = entry.idle_seconds
    if entry.frequency is not None:
        record["frequency"] = entry.frequency
    if entry.part or not entry.last:
        record["part"] = {"index": entry.part, "last": entry.last}
    return record


def value_fields(value: object, text: Text) -> Fielded:
    """Give the fields that a value takes.

    Args:
        value: Of an `Entry`.
        text: Makes text of each of the bytes in it.

    Raises:
        TypeError: It was not read.
    """
    if isinstance(value, Fields):
        record: Fielded = {"value": {text(field): text(held) for field, held, _ in value.items}}
        expiring = {text(f): time for f, _, time in value.items if time is not None}
        return record | {"field_expire_at_ms": expiring} if expiring else record
    return {"value": _value(value, text)}


def _value(value: object, text: Text) -> object:
    if isinstance(value, bytes):
        return text(value)
    if isinstance(value, Members):
        return [text(item) for item in value.items]
    if isinstance(value, Scores):
        return [[text(member), _score(score)] for member, score in value.items]
    if isinstance(value, ModuleValue):
        return {
            "module": value.module,
            "encoding_version": value.encoding_version,
            "size_bytes": value.size_bytes,
        }
    return _stream(value, text)


def _stream(value: object, text: Text) -> object:
    if isinstance(value, StreamNode | StreamEntries):
        found = value.items if isinstance(value, StreamEntries) else entries_of(value)
        entries = [
            {"id": _id(one), "fields": [text(field) for field in fields]} for one, fields in found
        ]
        return {"entries": entries}
    if isinstance(value, StreamSummary):
        summary: Fielded = {"length": value.length, "last_id": _id(value.last)}
        if value.first is not None and value.max_deleted is not None:
            summary["first_id"] = _id(value.first)
            summary["max_deleted_id"] = _id(value.max_deleted)
            summary["entries_added"] = value.entries_added
        return {"summary": summary}
    if isinstance(value, StreamGroup):
        return {"group": _group(value, text)}
    if isinstance(value, StreamProducers):
        producers = {
            text(name): [[text(used), _id(one)] for used, one in ids]
            for name, ids in value.producers.items()
        }
        return {
            "idempotency": {
                "duration": value.duration,
                "max_entries": value.max_entries,
                "producers": producers,
                "added": value.added,
                "duplicates": value.duplicates,
            }
        }
    raise TypeError("the value was not read")


def _group(group: StreamGroup, text: Text) -> Fielded:
    record: Fielded = {"name": text(group.name), "last_id": _id(group.last)}
    if group.entries_read is not None:
        record["entries_read"] = group.entries_read
    record["pending"] = [
        {"id": _id(one), "delivered_at_ms": time, "deliveries": count}
        for one, (time, count) in group.pending.items()
    ]
    consumers = []
    for consumer in group.consumers:
        found: Fielded = {"name": text(consumer.name), "seen_at_ms": consumer.seen_ms}
        if consumer.active_ms is not None:
            found["active_at_ms"] = consumer.active_ms
        found["pending"] = [_id(one) for one in consumer.pending]
        consumers.append(found)
    record["consumers"] = consumers
    return record


def _other(item: Item, text: Text) -> Fielded | None:
    record: Fielded = {"v": ENVELOPE_VERSION}
    if isinstance(item, Header):
        return record | {"kind": "snapshot_begin", "format": item.format}
    if isinstance(item, End):
        return record | {"kind": "snapshot_end", "size_bytes": item.size_bytes}
    if isinstance(item, Database | DatabaseSize):
        return None
    record["kind"] = "snapshot"
    if isinstance(item, Aux):
        return record | {"type": "aux", "name": text(item.name), "value": text(item.value)}
    if isinstance(item, Function):
        return record | {"type": "function", "value": text(item.code)}
    if isinstance(item, ModuleAux):
        return record | {"type": "module_aux", "value": item._asdict()}
    if isinstance(item, SlotImport):
        return record | {"type": "slot_import", "value": [text(item.job), item.ranges]}
    return None


def _utf8(value: bytes) -> str:
    return value.decode()


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _score(score: float) -> float | str:
    return score if math.isfinite(score) else repr(score)


def _id(one: StreamId) -> str:
    return f"{one[0]}-{one[1]}"
