"""Records to give a sink, as a relay would make them: each one's offsets follow the one before.

`Stream` makes them; `every_kind`, `binary`, `numbered` and `large` are batches that suit most
tests. `document` is what a record is in JSON, for a comparison that does not use the product.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from repltap.rdb.entries import Entry, Fields, Members, Scores, StreamNode, StreamSummary
from repltap.sink import AnyRecord, Kind, Notice, Record, SnapshotRecord, Transaction
from tests.stored import OTHER, REPLID, command

Batch = list[AnyRecord]

TIME_MS = 1_700_000_000_123
_KEYLESS = {b"FLUSHALL", b"PUBLISH", b"SWAPDB", b"SCRIPT"}
_EVERY_WORD_A_KEY = {b"DEL", b"UNLINK"}


class Stream:
    """Makes records that follow each other.

    Args:
        start: The offset at which it begins.
        replid: Whose offsets they are.
        source: The configured name of the upstream.
    """

    def __init__(self, start: int = 1000, *, replid: str = REPLID, source: str = "m") -> None:
        self.offset = start
        self.replid = replid
        self.source = source
        self.db = 0
        self._notices = 0

    def command(
        self,
        *words: bytes,
        db: int | None = None,
        tx: Transaction | None = None,
        size: int | None = None,
        redacted: bool = False,
    ) -> Record:
        """Make a command; its key is the first argument, of those that have one."""
        name = words[0].upper()
        if db is not None and db != self.db:
            self.db = db
            self.offset += len(command(b"SELECT", b"%d" % db))
        keys: tuple[int, ...] = (1,) if len(words) > 1 and name not in _KEYLESS else ()
        if name in _EVERY_WORD_A_KEY:
            keys = tuple(range(1, len(words)))
        start, self.offset = self.offset, self.offset + len(command(*words))
        return Record(
            self.source, self.replid, start, self.offset, self.db, name.decode("latin-1"),
            list(words), keys, tx, TIME_MS + start, size, redacted,
        )  # fmt: skip

    def transaction(self, *commands: Sequence[bytes]) -> list[Record]:
        """Make the commands of a MULTI/EXEC."""
        begin = self.offset
        self.offset += len(command(b"MULTI"))
        records = [
            self.command(*words, tx=Transaction(begin, ordinal, ordinal == len(commands) - 1))
            for ordinal, words in enumerate(commands)
        ]
        self.offset += len(command(b"EXEC"))
        return records

    def notice(self, kind: Kind, *, gap: int = 0, **details: str | int) -> Notice:
        """Make a notice; `gap` is the length of its offsets."""
        self._notices += 1
        start, self.offset = self.offset, self.offset + gap
        # As unique as a relay makes it, by another rule: no sink may look into it.
        of = f"{self.replid}:{start}:{kind.value}:{self._notices}"
        return Notice(
            kind, of, self.source, self.replid, start, self.offset, TIME_MS + start, details
        )

    def snapshot(self, entries: Iterable[Entry], *, batch: int = 4) -> list[Batch]:
        """Make a snapshot at this offset: what begins it, its keys in batches, what ends it."""
        records: Batch = [
            SnapshotRecord(
                self.source, self.replid, self.offset, ordinal, entry.db, entry.key, entry.type,
                entry.value, entry.expire_at_ms, entry.part, entry.last, TIME_MS, None, False,
                entry,
            )
            for ordinal, entry in enumerate(entries)
        ]  # fmt: skip
        pieces = [records[at : at + batch] for at in range(0, len(records), batch)]
        return [
            [self.notice(Kind.SNAPSHOT_BEGIN)],
            *pieces,
            [self.notice(Kind.SNAPSHOT_END)],
        ]


def entry(
    key: bytes, type_: str, value: Any, *, db: int = 0, expire_at_ms: int | None = None,
    part: int = 0, last: bool = True, length: int = 1,
) -> Entry:  # fmt: skip
    """A key of a snapshot, or a part of one."""
    return Entry(
        db, key, type_, "raw", value, expire_at_ms, None, None, part, last, length, 0, None, 0
    )


def every_entry() -> list[Entry]:
    """Keys of every type that commands can rebuild, in two databases; one in parts."""
    far = 4_000_000_000_000
    return [
        entry(b"text", "string", b"value"),
        entry(b"bytes", "string", bytes(range(256)), expire_at_ms=far),
        entry(b"list", "list", Members([b"a", b"b"]), part=0, last=False, length=3),
        entry(b"list", "list", Members([b"\xff"]), part=1, last=True, length=3),
        entry(b"set", "set", Members([b"a", b"b"]), length=2),
        entry(b"zset", "zset", Scores([(b"a", 1.5), (b"b", float("inf"))]), length=2),
        entry(b"hash", "hash", Fields([(b"f", b"v", None)]), db=3),
        entry(b"stream", "stream", StreamSummary(0, (5, 0), (0, 0), (5, 0), 1, 0), db=3),
    ]


def every_kind() -> list[Batch]:
    """A snapshot, commands, transactions (one in two batches), and every notice."""
    stream = Stream()
    batches = stream.snapshot(every_entry())
    batches.append([stream.command(b"SET", b"k%d" % n, b"v") for n in range(5)])
    batches.append(
        [
            stream.command(b"set", b"k", b"", db=3),
            *stream.transaction([b"INCR", b"n"], [b"INCR", b"n"]),
            stream.command(b"DEL", b"k", b"n", db=0),
            stream.command(b"FLUSHALL"),
        ]
    )
    parts = stream.transaction(*([b"RPUSH", b"l", b"%d" % n] for n in range(6)))
    batches += [[*parts[:3]], [*parts[3:], stream.command(b"SET", b"after", b"it", db=9)]]
    batches.append([stream.notice(Kind.HEARTBEAT)])
    batches.append([stream.command(b"SET", b"secret", b"x" * 8, size=4096, redacted=True)])
    batches.append([stream.notice(Kind.GAP, gap=500)])
    batches.append([stream.command(b"PUBLISH", b"channel", b"text")])
    stream.replid = OTHER
    batches.append([stream.notice(Kind.HISTORY, reason="failover", previous_replid=REPLID)])
    batches.append([stream.command(b"SET", b"end", b"1"), stream.command(b"GET2", b"end", db=0)])
    return batches


def binary() -> list[Batch]:
    """Values of any bytes: no text, what looks like the protocol, what looks like JSON."""
    stream = Stream()
    values = [
        b"",
        bytes(range(256)),
        b"\r\n",
        b"*1\r\n$8\r\nFLUSHALL\r\n",
        b'"}\n{"v":1,',
        "ключ ✓ \U0001f600".encode(),
        "\u2028\u2029\x00\x7f".encode(),
        "\ud800".encode("utf-8", "surrogatepass"),
    ]
    return [
        [stream.command(b"SET", b"k%d" % n, value) for n, value in enumerate(values)],
        [stream.command(b"SET", value, b"v") for value in values],
    ]


def numbered(count: int, *, batch: int) -> list[Batch]:
    """SETs of the numbers from 0."""
    stream = Stream()
    records: Batch = [stream.command(b"SET", b"k%d" % (n % 7), b"%d" % n) for n in range(count)]
    return [records[at : at + batch] for at in range(0, count, batch)]


def large(size: int) -> list[Batch]:
    """A value of so many bytes between small ones."""
    stream = Stream()
    return [
        [stream.command(b"SET", b"before", b"1")],
        [stream.command(b"SET", b"large", bytes(range(256)) * (size // 256))],
        [stream.command(b"SET", b"after", b"1")],
    ]


def flat(batches: Iterable[Iterable[AnyRecord]]) -> list[AnyRecord]:
    """All records of some batches."""
    return [record for batch in batches for record in batch]


def document(record: AnyRecord) -> dict[str, Any]:
    """What a record is in JSON, by the envelope; put together the plain way."""
    try:
        return _document(record, bytes.decode)
    except UnicodeDecodeError:
        encoded = _document(record, lambda value: base64.b64encode(value).decode("ascii"))
        return encoded | {"enc": "base64"}


def _document(record: AnyRecord, text: Callable[[bytes], str]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "v": 1,
        "id": record.id,
        "kind": record.kind.value,
        "source": record.source,
        "replid": record.replid,
        "ts_ms": record.ts_ms,
    }
    if isinstance(record, SnapshotRecord):
        fields["offset_start"] = fields["offset_end"] = record.offset
        fields |= {"keys": [text(key) for key in record.keys], "type": record.type}
        fields["value"] = _value(record.value, text)
        fields |= _known(db=record.db, expire_at_ms=record.expire_at_ms)
        if record.part or not record.last:
            fields["part"] = {"index": record.part, "last": record.last}
        return fields | _changes(record)
    fields |= {"offset_start": record.offset_start, "offset_end": record.offset_end}
    if isinstance(record, Notice):
        return fields | ({"details": dict(record.details)} if record.details else {})
    fields |= {"cmd": record.cmd, "args": [text(arg) for arg in record.args]}
    fields["keys"] = [text(key) for key in record.keys]
    if record.tx is not None:
        fields["tx"] = {"id": record.tx.id, "index": record.tx.ordinal, "last": record.tx.last}
    return fields | _known(db=record.db) | _changes(record)


def _known(**fields: int | None) -> Mapping[str, int]:
    return {name: value for name, value in fields.items() if value is not None}


def _changes(record: Record | SnapshotRecord) -> Mapping[str, Any]:
    fields: dict[str, Any] = {} if record.size is None else {"truncated": True, "size": record.size}
    return fields | ({"redacted": True} if record.redacted else {})


def _value(value: Any, text: Callable[[bytes], str]) -> Any:
    if value is None or isinstance(value, bytes):
        return value if value is None else text(value)
    if isinstance(value, Fields):
        return {text(field): text(content) for field, content, _ in value.items}
    if isinstance(value, Scores):
        return [[text(member), repr(score)] for member, score in value.items]
    if isinstance(value, Members):
        return [text(item) for item in value.items]
    assert not isinstance(value, StreamNode)
    return repr(value)
