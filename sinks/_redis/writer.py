"""Records in, commands out, into the transaction that is open in the target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import hiredis

from repltap.sink import (
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
_SPECIAL = _NOT_DATA | CHANGES.keys() | {"SWAPDB"}


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
        self._is_empty = False  # no key of the snapshot can be in the target

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
        names = _names(written)
        group.add_several(written, [Subject(name.decode(), None, notice.id) for name in names])
        if names:
            group.forget_db()
        self._is_empty = b"FLUSHALL" in names
        return self._is_empty

    def keep_data(self) -> None:
        """Begin a snapshot in a target whose other keys stay."""
        self._form = self._context.resp_form(target=self._server.name)
        self._is_empty = False

    def end_snapshot(self, notice: Notice) -> None:
        """End it; what could not be carried over is logged."""
        self._form.write([notice])
        self._is_empty = False

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
        for key in _keys(records):
            first = key[0]
            if first.key == self._key and first.db == self._db:
                self._context.discarded(len(key), intentional=True)
                continue
            written = self._form.write(key)
            if not written:
                continue
            self._select(group, first)
            if first.part == 0 and first.key is not None and not self._is_empty:
                group.add(pack((b"DEL", first.key)), Subject("DEL", first.key, first.id))
            subjects = [Subject(name.decode(), first.key, first.id) for name in _names(written)]
            group.add_several(written, subjects)

    def _special(self, group: Group, record: Record) -> list[bytes] | None:
        """Return what is sent instead of a command, None for nothing."""
        if record.cmd in _NOT_DATA:
            self._context.discarded(1, intentional=True)
            return None
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


def _keys(records: Sequence[SnapshotRecord]) -> Iterator[list[SnapshotRecord]]:
    """Put the parts of a key together, those that have come: only they can be one RESTORE."""
    parts: list[SnapshotRecord] = []
    for record in records:
        if parts and record.part == 0:
            yield parts
            parts = []
        parts.append(record)
    if parts:
        yield parts


def _names(commands: bytes) -> list[bytes]:
    """Tell the names of encoded commands, in upper case."""
    reader = hiredis.Reader()
    reader.feed(commands)
    names = []
    while words := reader.gets():
        names.append(words[0].upper())
    return names
