"""Records of every kind as JSON lines, the envelope's version 1.

Commands are `_hot.json_lines`'; a record of a snapshot has the fields that `repltap snapshot cat`
writes, and where it is from; of a notice, `details` are in a field of that name. A value that was
removed on purpose is absent.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import cast

import orjson

from repltap.delivery._hot.json_lines import JsonLines
from repltap.rdb.entries import Entry
from repltap.rdb.write_json import Fielded, Text, encode, value_fields
from repltap.sink import ENVELOPE_VERSION, AnyRecord, Notice, Record, SnapshotRecord


class JsonForm:
    """Writes records, one a line."""

    def __init__(self) -> None:
        self._commands = JsonLines()

    def write(self, records: Sequence[AnyRecord]) -> bytes:
        """Write records of one class.

        Returns:
            Their lines, each with its end.
        """
        if not records:
            return b""
        if isinstance(records[0], Record):
            # A batch is of one class, and a list of all kinds can't be told from one of commands.
            return self._commands.write(cast("list[Record]", _as_list(records)))
        return b"".join(map(_line, records))


def _as_list(records: Sequence[AnyRecord]) -> list[AnyRecord]:
    return records if isinstance(records, list) else list(records)


def _line(record: AnyRecord) -> bytes:
    if isinstance(record, SnapshotRecord):
        if type(record.value) is bytes and record.type == "string" and _is_plain(record):
            return _string(record, record.value)
        return encode(lambda text: _snapshot(record, text))
    if isinstance(record, Notice):
        return _notice(record)
    return JsonLines().write([record])


def _is_plain(record: SnapshotRecord) -> bool:
    """Tell whether there is nothing to say of it that most keys don't have."""
    entry = record.entry
    return (
        record.key is not None
        and record.db is not None
        and record.last
        and not record.part
        and not record.redacted
        and record.size is None
        and (not isinstance(entry, Entry) or (entry.idle_seconds is None is entry.frequency))
    )


def _string(record: SnapshotRecord, value: bytes) -> bytes:
    """Write a string key; put together here, that takes a third of what a dict does."""
    dumps = orjson.dumps
    key = record.key or b""
    tail = b"" if record.expire_at_ms is None else b',"expire_at_ms":%d' % record.expire_at_ms
    try:
        name, text = dumps(key.decode()), dumps(value.decode())
    except UnicodeDecodeError:
        name, text = dumps(b64encode(key).decode("ascii")), dumps(b64encode(value).decode("ascii"))
        tail += b',"enc":"base64"'
    replid = record.replid.encode("ascii")
    offset = record.offset
    return (
        b'{"v":%d,"id":"%b:%d:%d","kind":"snapshot","source":%b,"replid":"%b","offset_start":%d,'
        b'"offset_end":%d,"db":%d,"keys":[%b],"type":"string","value":%b,"ts_ms":%d%b}\n'
        % (
            ENVELOPE_VERSION,
            replid,
            offset,
            record.ordinal,
            dumps(record.source),
            replid,
            offset,
            offset,
            record.db or 0,
            name,
            text,
            record.ts_ms,
            tail,
        )
    )


def _snapshot(record: SnapshotRecord, text: Text) -> Fielded:
    fields: Fielded = {
        "v": ENVELOPE_VERSION,
        "id": record.id,
        "kind": record.kind.value,
        "source": record.source,
        "replid": record.replid,
        "offset_start": record.offset,
        "offset_end": record.offset,
    }
    if record.db is not None:
        fields["db"] = record.db
    if record.key is not None:
        fields["keys"] = [text(record.key)]
    fields["type"] = record.type
    if record.value is not None:
        fields |= value_fields(record.value, text)
    fields["ts_ms"] = record.ts_ms
    if record.expire_at_ms is not None:
        fields["expire_at_ms"] = record.expire_at_ms
    if isinstance(record.entry, Entry):
        if record.entry.idle_seconds is not None:
            fields["idle_seconds"] = record.entry.idle_seconds
        if record.entry.frequency is not None:
            fields["frequency"] = record.entry.frequency
    if record.part or not record.last:
        fields["part"] = {"index": record.part, "last": record.last}
    if record.size is not None:
        fields |= {"truncated": True, "size": record.size}
    if record.redacted:
        fields["redacted"] = True
    return fields


def _notice(notice: Notice) -> bytes:
    fields: Fielded = {
        "v": ENVELOPE_VERSION,
        "id": notice.id,
        "kind": notice.kind.value,
        "source": notice.source,
        "replid": notice.replid,
        "offset_start": notice.offset_start,
        "offset_end": notice.offset_end,
        "ts_ms": notice.ts_ms,
    }
    if notice.details:
        fields["details"] = dict(notice.details)
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
