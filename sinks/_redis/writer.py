"""Records in, commands out, into the transaction that is open in the target."""

from __future__ import annotations

from collections.abc import Sequence

import hiredis

from repltap.sink import (
    Record,
    RespForm,
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
        self._form: RespForm | None = None  # of the snapshot that is being delivered
        self._is_empty = False  # no key of the snapshot can be in the target

    def begin_snapshot(self, *, is_empty: bool) -> None:
        """Begin a snapshot; `is_empty` where the target has just been emptied for it."""
        self._form = None
        self._is_empty = is_empty

    def end_snapshot(self) -> None:
        """End it."""
        self._form = None
        self._is_empty = False

    def commands(self, group: Group, records: Sequence[Record]) -> None:
        """Write commands of the stream.

        Raises:
            SinkError: The target can't take one, or is away.
        """
        own_key, own_db, add = self._key, self._db, group.add
        for record in records:
            cmd, words, positions = record.cmd, record.words, record.key_positions
            key = words[positions[0]] if positions else None
            if key == own_key and record.db == own_db and len(positions) == 1:
                # The source is a mirror itself, with a sink of the same name.
                self._context.discarded(1, intentional=True)
                continue
            if record.db != group.db:
                self._select(group, record)
            if cmd in _SPECIAL:
                changed = self._special(group, record)
                if changed is None:
                    continue
                words = changed
            add(pack(words), Subject(cmd, key, record.offset_start))

    def snapshot(self, group: Group, records: Sequence[SnapshotRecord]) -> None:
        """Write records of a snapshot, as RESTORE or as what builds the key.

        Raises:
            SinkError: The target can't take one, or is away.
        """
        if self._form is None:
            self._form = self._context.resp_form(target=self._server.name)
        for record in records:
            if record.key == self._key and record.db == self._db:
                self._context.discarded(1, intentional=True)
                continue
            written = self._form.write([record])
            if not written:
                continue
            self._select(group, record)
            names = _names(written)
            if record.part == 0 and record.key is not None and not self._is_empty:
                group.add(pack((b"DEL", record.key)), Subject("DEL", record.key, record.id))
            subjects = [Subject(name.decode(), record.key, record.id) for name in names]
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


def _names(commands: bytes) -> list[bytes]:
    """Tell the names of encoded commands, in upper case."""
    reader = hiredis.Reader()
    reader.feed(commands)
    names = []
    while words := reader.gets():
        names.append(words[0].upper())
    return names
