"""Records in, commands out, into the transaction that is open in the target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import hiredis

from repltap.sink import (
    Kind,
    Notice,
    Record,
    SinkContext,
    SinkError,
    SinkErrorKind,
    SnapshotRecord,
)
from sinks._redis.connection import pack
from sinks._redis.expiry import CHANGES, absolute_words
from sinks._redis.group import Group, Subject
from sinks._redis.server import Server
from sinks._redis.url import Address

# They say something to the nodes of a cluster (Redis 8.4, Valkey 9: CLUSTER SYNCSLOTS), and a
# server that is not in it refuses them.
_NOT_DATA = frozenset({"CLUSTER"})
_FLUSH_BYTES = 64 << 10  # of commands that are encoded before they are sent
_FLUSH = pack((b"FLUSHALL", b"ASYNC"))
_FLUSH_FUNCTIONS = pack((b"FUNCTION", b"FLUSH", b"ASYNC"))
_SPECIAL = _NOT_DATA | CHANGES.keys() | {"FLUSHALL", "PUBLISH", "SWAPDB"}
_HELLO = b"__sentinel__:hello"
"""What sentinels say of the source's master. Those of the target would take it for news of their
own, if both call their master the same (Redis `sentinelProcessHelloMessage`)."""


class Writer:
    """Writes records.

    Args:
        context: Of the sink.
        address, server: The target.
        key, db: The checkpoint key.
    """

    def __init__(
        self, context: SinkContext, address: Address, server: Server, key: bytes, db: int
    ) -> None:
        self._context = context
        self._address = address
        self._server = server
        self._key = key
        self._db = db
        # Begun here, so that the snapshot is read as it needs it.
        self._form = context.resp_form(target=server.name)

    def begin_snapshot(self, group: Group, notice: Notice, *, all_of_it: bool) -> bool:
        """Begin a snapshot: empty the target.

        Args:
            group: The open transaction.
            notice: That it begins.
            all_of_it: Whatever is in the target, not only what the sink is given all of.

        Returns:
            Whether nothing is left in the target.
        """
        self._form = self._context.resp_form(target=self._server.name)
        written = self._form.write([notice])
        if all_of_it:
            written = _FLUSH + (_FLUSH_FUNCTIONS if self._server.has_functions else b"")
        names = [words[0].upper() for words in _commands(written)]
        group.add_several(written, [Subject(name.decode(), None, None) for name in names])
        if names:
            group.forget_db()
        return b"FLUSHALL" in names

    def keep_data(self) -> None:
        """Begin a snapshot in a target whose other keys stay."""
        self._form = self._context.resp_form(target=self._server.name)

    def end_snapshot(self, notice: Notice) -> None:
        """End it; what could not be carried over is logged."""
        self._form.write([notice])

    def commands(self, group: Group, records: Sequence[Record]) -> None:
        """Write commands of the stream.

        Raises:
            SinkError: The target can't take one, or is away.
        """
        pack_command, new, parts = hiredis.pack_command, tuple.__new__, group.parts
        own_key, selected = self._key, group.db
        subjects: list[Subject] = []
        size = 0
        for record in records:
            _, _, start, end, db, cmd, words, positions, _, _, _, _ = record
            key = words[positions[0]] if positions else None
            # Most are SET without options, which are what is special about it.
            special = cmd in _SPECIAL and (cmd != "SET" or len(words) != 3)
            if special or db != selected or key == own_key:
                group.count(subjects, size)
                subjects, size = [], 0
                self._one(group, record, key)
                parts, selected = group.parts, group.db
                continue
            parts.append(pack_command(tuple(words)))  # type: ignore[arg-type]  # see `pack`
            subjects.append(new(Subject, (cmd, key, start)))
            size += end - start
            if size >= _FLUSH_BYTES:
                group.count(subjects, size)
                subjects, size = [], 0
                parts = group.parts
        group.count(subjects, size)

    def _one(self, group: Group, record: Record, key: bytes | None) -> None:
        """Write a command that needs a closer look."""
        if key == self._key and record.db == self._db and len(record.key_positions) == 1:
            # The source is a mirror itself, with a sink of the same name.
            self._context.discarded(1, intentional=True)
            return
        if record.db != group.db:
            self._select(group, record)
        words: list[bytes] | None = record.words
        if record.cmd in _SPECIAL:
            words = self._special(group, record)
        if words is not None:
            group.add(pack(words), Subject(record.cmd, key, record.offset_start))

    def snapshot(self, group: Group, records: Sequence[SnapshotRecord]) -> None:
        """Write records of a snapshot, as RESTORE or as what builds the key.

        Raises:
            SinkError: The target can't take one, or is away.
        """
        for db, run in groupby(records, key=lambda record: record.db):
            given = list(run)
            wanted = [one for one in given if one.key != self._key or db != self._db]
            if len(wanted) < len(given):
                self._context.discarded(len(given) - len(wanted), intentional=True)
            if wanted:
                self._run(group, wanted)

    def _run(self, group: Group, records: list[SnapshotRecord]) -> None:
        """Write records of one database."""
        written = self._form.write(records)
        if not written:
            return
        self._select(group, records[0])
        types = {record.key: record.type for record in records}
        subjects = []
        for words in _commands(written):
            key = words[1] if len(words) > 1 else None
            subjects.append(Subject(words[0].upper().decode(), key, types.get(key, "")))
        group.add_several(written, subjects)

    def _special(self, group: Group, record: Record) -> list[bytes] | None:
        """Return what is sent instead of a command, None for nothing."""
        if record.cmd in _NOT_DATA or (record.cmd == "PUBLISH" and record.words[1:2] == [_HELLO]):
            self._context.discarded(1, intentional=True)
            return None
        if record.cmd == "FLUSHALL":
            return self._flush_all(group, record)
        if record.cmd == "SWAPDB":
            if b"%d" % self._db in record.words[1:3]:
                # Else the old checkpoint turns up as a key in the other database.
                group.select(self._db)
                group.add(pack((b"DEL", self._key)), Subject("DEL", self._key, None))
                self._select(group, record)
            return record.words
        if not self._server.has_absolute_set:
            return record.words
        return absolute_words(record.cmd, record.words, record.ts_ms)

    def _flush_all(self, group: Group, record: Record) -> list[bytes] | None:
        """Where databases are chosen, empty those: what is in the others is not the source's."""
        begin = Notice(Kind.SNAPSHOT_BEGIN, "", record.source, record.replid, 0, 0, 0, {})
        emptying = self._context.resp_form(target=self._server.name).write([begin])
        chosen = [int(words[1]) for words in _commands(emptying) if words[0] == b"SELECT"]
        for db in chosen:
            self._select(group, record._replace(db=db))
            subject = Subject("FLUSHDB", None, record.offset_start)
            group.add(pack((b"FLUSHDB", *record.words[1:])), subject)
        return None if chosen else record.words

    def _select(self, group: Group, record: Record | SnapshotRecord) -> None:
        """Select a record's database; one that is not there would put it into another."""
        db = record.db
        if db is None:
            if record.keys:
                raise SinkError(
                    f"record {record.id}: it is not known in which database it belongs",
                    hint="begin with a snapshot",
                    kind=SinkErrorKind.SOURCE,
                    passes=False,
                )
            return
        if db >= self._server.databases:
            raise SinkError(
                f"{self._address} has {self._server.databases} databases, record {record.id} is"
                f" for number {db}",
                hint="raise `databases` there and restart it; the place is kept",
                kind=SinkErrorKind.UNSUPPORTED,
                passes=False,
            )
        group.select(db)


def _commands(data: bytes) -> Iterator[list[bytes]]:
    """Read encoded commands."""
    reader = hiredis.Reader()
    reader.feed(data)
    while words := reader.gets():
        yield words
