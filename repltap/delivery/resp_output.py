"""Records of every kind as commands that a server executes.

Commands are `_hot.resp_form`'s. A snapshot begins with what empties the target, as far as the sink
is given all that was there: FLUSHALL where neither databases nor keys are chosen, FLUSHDB for
databases that are, nothing for keys. Its values are RESTOREd; strings are SET, and what is too
large for one command is built up from several, behind a DEL. A value that was redacted is built up
from what is left; one that nothing is left of is left out, and counted.

Nothing is held back: a key whose parts come in several calls is written by commands.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from repltap.delivery._hot.resp_form import RespForm, encode
from repltap.errors import RdbError
from repltap.rdb._hot.values import TYPES
from repltap.rdb.entries import Entry, Function
from repltap.rdb.restore import restore_command
from repltap.rdb.target import Target
from repltap.rdb.write_resp import RespWriter
from repltap.sink import (
    AnyRecord,
    Kind,
    Notice,
    Record,
    SinkError,
    SinkErrorKind,
    SnapshotRecord,
)

PAYLOADS: Final[Mapping[str, int]] = {
    "list": 4 << 20,
    "set": 4 << 20,
    "zset": 4 << 20,
    "hash": 4 << 20,
    "stream": 4 << 20,
    "module": 512 << 20,
}
"""The types that are RESTOREd, and up to how many bytes: a server unpacks a value in one go, and
serves nobody meanwhile. Only RESTORE makes a module's; a string needs none."""


@dataclass(slots=True)
class SnapshotOrigin:
    """Who wrote the snapshot that is being delivered.

    Attributes:
        vendor: `redis` or `valkey`, "" for not known.
        target: The server itself, None for not known.
    """

    vendor: str = ""
    target: Target | None = None

    def learn(self, rdb_format: str, aux: Mapping[str, str]) -> None:
        """Look at what a snapshot says of itself.

        Args:
            rdb_format: Its magic and version, such as REDIS0011.
            aux: The fields at its beginning.
        """
        self.vendor = "valkey" if rdb_format.upper().startswith("VALKEY") else "redis"
        self.target = None
        for vendor in ("redis", "valkey"):
            try:
                self.target = Target.parse(f"{vendor}-{aux[f'{vendor}-ver']}")
            except (KeyError, ValueError):
                pass  # not this one's, or a version that is none


@dataclass(slots=True)
class Window:
    """What the last records were decoded from.

    Attributes:
        replid: That names its offsets.
        data: The bytes, b"" for none.
        start: The offset of the first.
    """

    replid: str = ""
    data: bytes = b""
    start: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What an output sees of what is around it.

    Attributes:
        window: What commands are copied from; changes from call to call.
        origin: Who wrote the snapshot.
        emptied: Databases that a snapshot empties, None for all.
        discarded: Counts records that were left out on purpose.
        log: For what can't be carried over.
    """

    window: Window
    origin: SnapshotOrigin
    emptied: Sequence[int] | None
    discarded: Callable[[int], None]
    log: logging.Logger = field(repr=False)


class RespOutput:
    """One continuous output of commands.

    Args:
        around: What it sees.
        target: The server they are for, None for the master's own kind.
    """

    def __init__(self, around: Surroundings, target: Target | None = None) -> None:
        self._around = around
        self._target = target
        self._commands = RespForm()
        self._values: RespWriter | None = None  # for one snapshot
        self._written_for: tuple[str, Target | None] = ("", None)

    def write(self, records: Sequence[AnyRecord]) -> bytes:
        """Write records of one class that follow those before.

        Raises:
            SinkError: The target knows no command for it.
        """
        if not records:
            return b""
        first = records[0]
        if isinstance(first, Record):
            found = cast("list[Record]", records if isinstance(records, list) else list(records))
            window = self._around.window
            if window.replid != first.replid or window.replid != found[-1].replid:
                return self._commands.write(found, b"", 0)
            return self._commands.write(found, window.data, window.start)
        if isinstance(first, Notice):
            return b"".join([self._notice(cast("Notice", record)) for record in records])
        try:
            return self._snapshot(cast("Sequence[SnapshotRecord]", records))
        except RdbError as exc:
            raise SinkError(
                exc.message, hint=exc.hint, kind=SinkErrorKind.UNSUPPORTED, passes=False
            ) from exc

    def _notice(self, notice: Notice) -> bytes:
        if notice.kind is Kind.HEARTBEAT:
            return b""
        written = self._commands.interrupt()
        if notice.kind is Kind.SNAPSHOT_BEGIN:
            self._values = None
            written += self._emptying()
        elif notice.kind is Kind.SNAPSHOT_END:
            self._tell_losses()
            self._values = None
        return written

    def _emptying(self) -> bytes:
        dbs = self._around.emptied
        if dbs is not None:
            commands = [self._select(db) + encode([b"FLUSHDB"]) for db in dbs]
            return b"".join(commands)
        target = self._target or self._around.origin.target
        functions = encode([b"FUNCTION", b"FLUSH"]) if target and target.has_functions else b""
        return encode([b"FLUSHALL"]) + functions

    def _select(self, db: int) -> bytes:
        if db == self._commands.db:
            return b""
        self._commands.db = db
        return encode([b"SELECT", b"%d" % db])

    def _snapshot(self, records: Sequence[SnapshotRecord]) -> bytes:
        writer = self._writer()
        parts: list[bytes] = []
        held: list[Entry] = []  # of a key that may come to an end, with its serialized form
        dropped = 0
        for record in records:
            entry = record.entry
            if isinstance(entry, Function):
                parts.append(writer.write(entry))
                continue
            if not isinstance(entry, Entry):
                dropped += record.last
                continue
            if held and (entry.part == 0 or entry.key != held[0].key):
                parts += self._key(writer, held)
                held = []
            if entry.part == 0:
                parts.append(self._select(entry.db))
            held.append(entry)
            if entry.last:
                parts += self._key(writer, held)
                held = []
        if held:
            parts += self._key(writer, held)
        if dropped:
            self._around.discarded(dropped)
        return b"".join(parts)

    def _key(self, writer: RespWriter, entries: list[Entry]) -> list[bytes]:
        """Write a key, or those parts of it that are there."""
        first, last = entries[0], entries[-1]
        written: list[bytes] = []
        if first.part:
            written.append(self._select(first.db))  # an output that begins here
        elif last.payload is not None and self._restores(last.payload):
            if last.metadata:
                writer.losses.add("metadata of modules on keys")
            return [restore_command(self._around.origin.vendor, last)]
        elif not isinstance(first.value, bytes):
            written.append(encode([b"DEL", first.key]))
        return written + [writer.write(entry) for entry in entries]

    def _restores(self, payload: bytes) -> bool:
        origin, target = self._around.origin, self._target
        if not origin.vendor:
            return False
        kind = TYPES[origin.vendor][payload[0]]
        if target is None:
            return True
        writer = origin.target.vendor if origin.target else origin.vendor
        # Valkey 9.1 takes not every list of a Redis 7.0, though it knows the type.
        if target.vendor != writer and kind.name != "module":
            return False
        return target.restores(origin.vendor, kind.since)

    def _writer(self) -> RespWriter:
        """Give the writer of values for who has written this snapshot."""
        origin = self._around.origin
        written_for = (origin.vendor, self._target or origin.target)
        if self._values is None or self._written_for != written_for:
            self._values = RespWriter(self._target or origin.target)
            self._written_for = written_for
        return self._values

    def _tell_losses(self) -> None:
        counts = self._values.losses.counts if self._values is not None else {}
        for what, count in counts.items():
            self._around.log.warning("commands can't carry this: %s (%d times)", what, count)
