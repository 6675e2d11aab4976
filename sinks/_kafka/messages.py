"""Records as messages: value, headers, and the rule for those that are too large.

value      the envelope's JSON, or the command in RESP
id         the record's; a copy in another partition has the same
kind, source, replid
offset     where the stream goes on behind it; of a snapshot's record, the snapshot's
copy       1, 2, ... in all but the first of a record's copies
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from repltap.sink import (
    AnyRecord,
    Notice,
    Record,
    RespForm,
    SinkContext,
    SinkError,
    SinkErrorKind,
    SnapshotRecord,
)
from sinks._partitions import Partitions, Target

Headers = list[tuple[str, str]]

_DISCARD = b"*1\r\n$7\r\nDISCARD\r\n"
_FRAME_BYTES = 128
"""What a message has beside key, value and headers, and a batch around it, at most."""


class Message(NamedTuple):
    """What goes to one partition."""

    value: bytes
    key: bytes | None
    partition: int
    headers: Headers


class Messages:
    """Makes messages of records.

    Args:
        context: The sink's; it writes the values.
        partitions: Where records go.
        resp: Values are commands, not JSON.
        max_bytes: What a message may have, key and headers included.
        oversize: fail, truncate or discard.
    """

    def __init__(
        self,
        context: SinkContext,
        partitions: Partitions,
        *,
        resp: bool,
        max_bytes: int,
        oversize: str,
    ) -> None:
        self._context = context
        self._partitions = partitions
        self._forms = [context.resp_form() for _ in range(partitions.count)] if resp else []
        self._max_bytes = max_bytes
        self._oversize = oversize

    def write(self, records: Sequence[AnyRecord]) -> Iterator[Message]:
        """Make the messages of some records, in their order.

        Raises:
            SinkError: A record is too large.
        """
        if self._forms:
            for record in records:
                yield from self._resp(record)
            return
        targets, largest = self._partitions.targets, self._max_bytes
        lines = self._context.json_lines(records).split(b"\n")
        for record, line in zip(records, lines, strict=False):
            headers = _headers(record)
            found = targets(record)
            if _size(line, found[0], headers) > largest:
                fitting = self._fit(record, found[0], headers)
                if fitting is None:
                    continue
                line = fitting
            key, partition = found[0]
            yield Message(line, key, partition, headers)
            for number in range(1, len(found)):
                key, partition = found[number]
                yield Message(line, key, partition, [*headers, ("copy", str(number))])

    def _resp(self, record: AnyRecord) -> Iterator[Message]:
        headers = _headers(record)
        found = self._partitions.targets(record)
        if len(self._forms) > 1 and isinstance(record, Record) and record.tx is not None:
            # The rest of it may be in other partitions: an EXEC would be missing here.
            record = record._replace(tx=None)
        for number, target in enumerate(found):
            key, partition = target
            form: RespForm = self._forms[partition]
            value = form.write([record])
            if _size(value, target, headers) > self._max_bytes:
                if self._oversize != "discard":
                    raise self._too_large(record, len(value))
                self._context.discarded(1, intentional=True)
                value = self._around(record, value, partition)
                if not value:
                    return
            more = [("copy", str(number))] if number else []
            yield Message(value, key, partition, headers + more)

    def _around(self, record: AnyRecord, value: bytes, partition: int) -> bytes:
        """Give what has to go out of what stands around a record that is left out.

        Without its EXEC a transaction takes in all that follows. A SELECT comes with the next one.
        """
        in_transaction = isinstance(record, Record) and record.tx is not None
        if in_transaction or value.startswith(_DISCARD):
            command = _encoded(record.words) if isinstance(record, Record) else value
            before, _, behind = value.partition(command)
            return before + behind
        self._forms[partition] = self._context.resp_form()
        return b""

    def _fit(self, record: AnyRecord, target: Target, headers: Headers) -> bytes | None:
        """Do what is to be done with a record that is too large: its JSON, or None."""
        if self._oversize == "discard":
            self._context.discarded(1, intentional=True)
            return None
        if self._oversize == "truncate":
            limit = self._max_bytes
            while limit := limit // 2:
                cut = truncated(record, limit)
                line = self._context.json_lines([cut]).rstrip(b"\n")
                if _size(line, target, headers) <= self._max_bytes:
                    return line
        raise self._too_large(record, len(self._context.json_lines([record])))

    def _too_large(self, record: AnyRecord, size: int) -> SinkError:
        return SinkError(
            f"record {record.id}: a message of {size} bytes is more than max_message_bytes "
            f"({self._max_bytes})",
            hint="raise it and the topic's max.message.bytes, or set max_value_bytes, or oversize "
            "to truncate or discard",
            kind=SinkErrorKind.UNSUPPORTED,
            passes=False,
        )


def truncated(record: AnyRecord, limit: int) -> AnyRecord:
    """Cut the values of a record to `limit` bytes; keys stay whole."""
    if isinstance(record, Record):
        words = [
            word if at == 0 or at in record.key_positions else word[:limit]
            for at, word in enumerate(record.words)
        ]
        size = record.size or sum(map(len, record.words[1:]))
        return record._replace(words=words, size=size)
    if isinstance(record, SnapshotRecord) and isinstance(record.value, bytes):
        return record._replace(value=record.value[:limit], size=record.size or len(record.value))
    return record


def _encoded(words: list[bytes]) -> bytes:
    parts = [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
    return b"".join([b"*%d\r\n" % len(words), *parts])


def _headers(record: AnyRecord) -> Headers:
    if isinstance(record, Record):
        replid, offset = record.replid, str(record.offset_end)
        return [
            ("id", f"{replid}:{offset}"),
            ("kind", "command"),
            ("source", record.source),
            ("replid", replid),
            ("offset", offset),
        ]
    offset = str(record.offset_end if isinstance(record, Notice) else record.offset)
    return [
        ("id", record.id),
        ("kind", record.kind.value),
        ("source", record.source),
        ("replid", record.replid),
        ("offset", offset),
    ]


def _size(value: bytes, target: Target, headers: Headers) -> int:
    size = len(value) + _FRAME_BYTES
    if target[0] is not None:
        size += len(target[0])
    for name, text in headers:
        size += len(name) + len(text)
    return size
