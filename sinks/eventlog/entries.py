"""What the log has of a record of the stream: its headers, and its value.

Headers, in this order:

    id        as in the envelope: drop doubles by it
    kind      command, snapshot_begin, snapshot, snapshot_end, history, gap, heartbeat
    source    the upstream's name
    replid    that names the offset
    offset    decimal: where the stream goes on after it; for `snapshot` the snapshot's own
    copy      1, 2, ... in all but the first of a record's copies in several partitions

A value in JSON is the envelope's, without a line's end. In RESP it is commands that can be executed
by themselves, a SELECT first where the database is known: a transaction's MULTI and EXEC are not
written, since a consumer may begin anywhere. Notices have what `RespForm` writes for them, for most
that is nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from repltap.sink import AnyRecord, Kind, Notice, Record, SinkContext, SnapshotRecord
from sinks.eventlog.batch import header, varint

_HEADERS = varint(5)
_HEADERS_OF_COPY = varint(6)


class Headers:
    """Writes the headers of records; what stays the same is written once."""

    def __init__(self) -> None:
        self._source = ""
        self._replid = ""
        self._kind: Kind | None = None
        self._middle = b""

    def write(self, record: AnyRecord) -> bytes:
        """Write those of a record."""
        if isinstance(record, Record):
            kind, offset = Kind.COMMAND, record.offset_end
        else:
            kind = record.kind
            offset = record.offset if isinstance(record, SnapshotRecord) else record.offset_end
        if kind is not self._kind or record.replid != self._replid or record.source != self._source:
            self._begin(record.source, record.replid, kind)
        name = record.id.encode()
        number = b"%d" % offset
        return b"%b\x04id%b%b%b\x0coffset%b%b" % (
            _HEADERS,
            varint(len(name)),
            name,
            self._middle,
            varint(len(number)),
            number,
        )

    def _begin(self, source: str, replid: str, kind: Kind) -> None:
        self._source, self._replid, self._kind = source, replid, kind
        self._middle = (
            header(b"kind", kind.value.encode())
            + header(b"source", source.encode())
            + header(b"replid", replid.encode())
        )


def copy_headers(headers: bytes, number: int) -> bytes:
    """Write those of a copy: the headers of the record, and which copy it is, from 1 on."""
    return _HEADERS_OF_COPY + headers[1:] + header(b"copy", b"%d" % number)


def json_values(context: SinkContext, records: Sequence[AnyRecord]) -> list[bytes]:
    """Write records as JSON, each by itself."""
    lines = context.json_lines(records).split(b"\n")  # JSON has no line's end within
    lines.pop()
    return lines


def resp_values(context: SinkContext, records: Sequence[AnyRecord]) -> list[bytes]:
    """Write records as commands, each by itself."""
    return [context.resp_form().write([_alone(record)]) for record in records]


def _alone(record: AnyRecord) -> AnyRecord:
    if isinstance(record, Notice | SnapshotRecord) or record.tx is None:
        return record
    return record._replace(tx=None)
