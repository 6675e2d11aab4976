"""The sink that applies the stream to another server: a migration, a mirror, a part of the keys.

Exactly once: a commit is one transaction in the target (`sinks._redis.group`), the place in a key
among it. What the target refuses before it executes leaves the place where it is. What fails when
it is executed can't be undone, and can't happen while the target has what the master had: then the
data differ, the sink says so in the target, and stops.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import hiredis

from repltap.sink import (
    AnyRecord,
    ClientTls,
    Kind,
    Notice,
    Option,
    Sink,
    SinkContext,
    SinkError,
    SinkErrorKind,
    SnapshotMode,
    SnapshotRecord,
    client_tls,
)
from sinks._redis.checkpoint import Checkpoint
from sinks._redis.connection import Connection, pack
from sinks._redis.faults import refused
from sinks._redis.group import Group, Outcome
from sinks._redis.options import OPTIONS
from sinks._redis.server import Server, examine, log_in
from sinks._redis.url import Address
from sinks._redis.writer import Writer

_CLOCK_SECONDS = 1.0  # further apart is worth a warning; NTP keeps milliseconds


class RedisSink(Sink):
    """Applies the stream to one Redis or Valkey."""

    options: ClassVar[tuple[Option, ...]] = OPTIONS
    target: ClassVar[str] = "url"
    snapshots: ClassVar[SnapshotMode] = SnapshotMode.WHEN_NEEDED
    whole_transactions: ClassVar[bool] = True
    # A target does nothing else while it executes a transaction: 1 MB takes it some 10 ms.
    commit_seconds: ClassVar[float] = 0.1
    commit_bytes: ClassVar[int] = 1 << 20
    exactly_once = True

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        address: Address = settings["url"]
        self._address = replace(address, username=settings["username"] or address.username)
        self._tls: ClientTls | None = None
        if address.tls:
            self._tls = client_tls("url", settings)
        elif any(settings.get(f"tls_{name}") for name in ("ca_cert_file", "cert_file")):
            raise ValueError("url: tls_ca_cert_file and tls_cert_file go with rediss://")
        self._context: SinkContext | None = None
        self._connection: Connection | None = None
        self._server: Server | None = None
        self._group: Group | None = None
        self._writer: Writer | None = None
        self._key = b""
        self._db: int = settings["checkpoint_db"]
        self._written: bytes | None = None  # what the checkpoint key holds
        self._session = ""
        self._groups = 0
        self._owned = False  # all that the target has is from this sink
        self._failure = ""  # what the target has refused, until it is marked there

    # What the runner calls.

    def open(self, context: SinkContext) -> str | None:
        """Connect, see what the target is, and read the place from it."""
        self._context = context
        self._key = (
            self.settings["checkpoint_key"] or f"repltap:checkpoint:{context.name}"
        ).encode()
        self._session = secrets.token_hex(8)
        self._groups = 0
        server = self._connect()
        self._writer = Writer(context, self._address, server, self._key, self._db)
        self._warn(server)
        found = self._read_checkpoint()
        if found is not None:
            self._owned = found.owned
            failure = found.failure
            if self._failure and not failure:
                failure = self._failure
                self._mark(found.place)  # the connection was lost before that could be done
            self._check_checkpoint(found, failure)
            return found.place
        self._failure = ""
        self._owned = not server.keys and not server.libraries
        self._check_first(server)
        return None

    def write(self, records: Sequence[AnyRecord]) -> None:
        """Send them; they are executed by `commit`."""
        assert self._writer is not None
        first = records[0]  # all are of its class
        if isinstance(first, Notice):
            self._notice(first)
        elif isinstance(first, SnapshotRecord):
            self._writer.snapshot(self._open_group(), records)  # type: ignore[arg-type]
        else:
            self._writer.commands(self._open_group(), records)  # type: ignore[arg-type]

    def commit(self, place: str) -> Mapping[str, Any]:
        """Execute what was written, the place with it."""
        group = self._open_group()
        checkpoint = self._checkpoint(place)
        value = checkpoint.dump()
        outcome = group.execute(value)
        self._written = value
        self._group = None
        assert self._context is not None
        self._context.sent(group.sent_bytes)
        if outcome.failed:
            self._failed(outcome, place)
        return {"committed": True}

    def idle(self) -> None:
        """Connect again where the target has closed the connection, so that it shows at once."""
        if self._connection is None or self._connection.is_gone():
            self._reconnect()

    def close(self) -> None:
        """Close the connection; a transaction that is not executed is dropped by that."""
        self._group = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # Opening.

    def _connect(self) -> Server:
        assert self._context is not None
        self.close()
        context = self._context
        connection = Connection(
            self._address,
            tls=self._tls,
            connect_seconds=self.settings["connect_timeout_seconds"],
            reply_seconds=self.settings["timeout_seconds"],
            stopping=lambda: context.wait(0),
        )
        try:
            log_in(connection, self.settings["password"], context.name)
            self._server = examine(connection, import_mode=self.settings["import_mode"])
        except SinkError:
            connection.close()
            raise
        self._connection = connection
        return self._server

    def _reconnect(self) -> None:
        before = self._server
        now = self._connect()
        if before is not None and (before.name, before.databases) != (now.name, now.databases):
            raise SinkError(f"{self._address} is another server now", kind=SinkErrorKind.AWAY)
        if self._get_checkpoint() != self._written:
            # Its last second may be lost; what is missing can be given again at once.
            raise SinkError(
                f"{self._address} does not have what was written to it last",
                kind=SinkErrorKind.AWAY,
            )

    def _warn(self, server: Server) -> None:
        assert self._context is not None
        log = self._context.log
        log.info("%s is a %s", self._address, server.name)
        if abs(server.clock_seconds) > _CLOCK_SECONDS:
            log.warning(
                "the clock of %s is %+.1f s from this machine's: keys expire there by its clock",
                self._address,
                server.clock_seconds,
            )
        if server.evicts:
            log.warning(
                "%s evicts keys when its memory is full: its data will differ from the master's"
                " (set its maxmemory-policy to noeviction)",
                self._address,
            )
        if server.knows_import_mode and not server.imports:
            log.warning(
                "%s expires keys by itself, before the master does where the sink is behind"
                " (set import_mode = yes for the time of a migration)",
                self._address,
            )

    def _read_checkpoint(self) -> Checkpoint | None:
        assert self._server is not None
        if self._db >= self._server.databases:
            raise SinkError(
                f"{self._address} has {self._server.databases} databases: checkpoint_db ="
                f" {self._db} is none of them",
                kind=SinkErrorKind.UNSUPPORTED,
                passes=False,
            )
        self._written = self._get_checkpoint()
        if self._written is None:
            return None
        try:
            return Checkpoint.parse(self._written)
        except ValueError as exc:
            raise SinkError(
                f"{self._address}: the key {self._key_name} is not this sink's checkpoint: {exc}",
                hint="set another checkpoint_key",
                kind=SinkErrorKind.REFUSED,
                passes=False,
            ) from None

    def _get_checkpoint(self) -> bytes | None:
        reply = self._call(b"GET", self._key)
        return reply if isinstance(reply, bytes) else None

    def _call(self, *words: bytes) -> object:
        """Execute a command in the checkpoint's database, outside of a transaction."""
        assert self._connection is not None
        self._connection.send(pack((b"SELECT", b"%d" % self._db)) + pack(words))
        reply: object = None
        for cmd in (b"SELECT", words[0]):
            reply = self._connection.reply()
            if isinstance(reply, hiredis.ReplyError):
                raise refused(self._address, str(reply), cmd.decode())
        return reply

    def _check_checkpoint(self, found: Checkpoint, failure: str) -> None:
        assert self._context is not None
        context = self._context
        if (found.sink, found.source) != (context.name, context.source):
            raise SinkError(
                f"{self._address}: the key {self._key_name} is of sink {found.sink!r} of source"
                f" {found.source!r}, not of {context.name!r} of {context.source!r}",
                hint="two that write to one target need a checkpoint_key each",
                kind=SinkErrorKind.REFUSED,
                passes=False,
            )
        if not failure:
            return
        if not context.counts(found.place):
            context.log.warning("the data of %s differ, until now: %s", self._address, failure)
        elif self.settings["on_error"] == "stop":
            raise self._diverged(failure)

    def _check_first(self, server: Server) -> None:
        """Check a target without a checkpoint."""
        assert self._context is not None
        if self._context.state and self._context.state.get("committed"):
            raise SinkError(
                f"{self._address} has lost what was written to it: the key {self._key_name}"
                " is not there",
                hint=f"to begin anew, with a snapshot: `repltap sink reset {self._context.name}`,"
                " and an empty target or flush = yes",
                passes=False,
            )
        if not self._owned and self.settings["flush"] == "auto":
            held = f"{server.keys} keys" if server.keys else f"{server.libraries} libraries"
            raise SinkError(
                f"{self._address} holds {held} that are not from this sink",
                hint="set flush = yes to delete them, or flush = no to keep what a snapshot and"
                " the stream don't replace",
                kind=SinkErrorKind.REFUSED,
                passes=False,
            )

    @property
    def _key_name(self) -> str:
        return repr(self._key.decode(errors="replace"))

    # Writing.

    def _open_group(self) -> Group:
        """Return the transaction that is open; begin one where none is."""
        if self._group is not None:
            return self._group
        if self._connection is None or self._connection.is_gone():
            # Closed while there was nothing to say, by the target's `timeout` for one. The
            # transaction compares the checkpoint key, so nothing can have changed unnoticed.
            self._reconnect()
        assert self._connection is not None
        self._group = Group(
            self._connection,
            key=self._key,
            db=self._db,
            expected=self._written,
            max_commands=self.settings["pipeline_commands"],
            max_bytes=self.settings["pipeline_bytes"],
        )
        return self._group

    def _notice(self, notice: Notice) -> None:
        assert self._context is not None
        assert self._writer is not None
        log = self._context.log
        if notice.kind is Kind.SNAPSHOT_BEGIN:
            self._begin_snapshot(notice)
        elif notice.kind is Kind.SNAPSHOT_END:
            self._writer.end_snapshot(notice)
        elif notice.kind is Kind.GAP:
            log.warning(
                "%s lacks what was in bytes %d to %d of the stream, until a snapshot follows",
                self._address,
                notice.offset_start,
                notice.offset_end,
            )
        elif notice.kind is Kind.HISTORY and notice.offset_end > notice.offset_start:
            log.warning(
                "%s has bytes %d to %d of a history that the master has given up, until a"
                " snapshot follows",
                self._address,
                notice.offset_start,
                notice.offset_end,
            )

    def _begin_snapshot(self, notice: Notice) -> None:
        """Delete what the target has, where that is wanted."""
        assert self._context is not None
        assert self._writer is not None
        flush = self.settings["flush"]
        if flush == "no":
            self._owned = False
            self._writer.keep_data()
            return
        if flush == "auto" and not self._owned:
            raise SinkError(
                f"{self._address} holds keys that are not from this sink, and a snapshot is due",
                hint="set flush = yes to delete them, or flush = no to keep what it doesn't"
                " replace",
                kind=SinkErrorKind.REFUSED,
                passes=False,
            )
        group = self._open_group()
        self._owned = self._writer.begin_snapshot(group, notice, all_of_it=self._owned)
        what = "all its data are" if self._owned else "what the sink is given all of is"
        self._context.log.info("a snapshot begins: %s deleted from %s", what, self._address)

    # Committing.

    def _checkpoint(self, place: str, failure: str = "") -> Checkpoint:
        assert self._context is not None
        self._groups += 1
        return Checkpoint(
            sink=self._context.name,
            source=self._context.source,
            place=place,
            owned=self._owned,
            writer=self._session,
            group=self._groups,
            time_ms=int(time.time() * 1000),
            failure=failure,
        )

    def _failed(self, outcome: Outcome, place: str) -> None:
        """Deal with commands that the target refused while it executed the others.

        Raises:
            SinkError: The sink is to stop then.
        """
        assert self._context is not None
        first = outcome.failures[0]
        failure = (
            f"it refused {first.subject.cmd}{first.subject.where()}: {first.text}"
            f" ({outcome.failed} of {outcome.commands} commands of one transaction, the others"
            " are applied)"
        )
        if self.settings["on_error"] == "log":
            self._context.log.warning("the data of %s differ: %s", self._address, failure)
            self._context.discarded(outcome.failed, intentional=False)
            return
        self._failure = failure
        self._mark(place)
        raise self._diverged(failure)

    def _mark(self, place: str) -> None:
        """Say in the target what it has refused: else a restart goes on as if nothing had been."""
        value = self._checkpoint(place, self._failure).dump()
        self._call(b"SET", self._key, value)
        self._written = value
        self._failure = ""

    def _diverged(self, failure: str) -> SinkError:
        assert self._context is not None
        return SinkError(
            f"the data of {self._address} differ from the master's: {failure}",
            hint=f"begin anew, with a snapshot: repltap sink reset {self._context.name};"
            " or go on: on_error = log",
            passes=False,
        )
