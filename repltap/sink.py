"""What a sink is, and what it is given. Public: sinks import this and nothing else of repltap.

A sink is a class with four calls. In a process of its own, by one thread, they come in this order:

    open      once, and again after an error that may pass
    write     records, in the order of the stream; nothing has to be durable yet
    commit    now it has to be: everything written; returns what `open` needs to find its place
    close     whatever happened

What `commit` returned is kept by the caller before it calls anything but `close`: a sink that is
called again knows that nobody will ask it to undo what that commit holds.

After a crash records are written again from the last commit on: each at least once, told apart by
`id`. A sink can make that exactly once: by keeping `place` in its target, in the same transaction
as the records, and returning it from `open`; or by a `state` from which `open` can undo what was
written after it, such as the length of a file.

Records follow the envelope, version 1: what is not known is None here, and absent in JSON. A batch
holds records of one class alone: `Record`, `SnapshotRecord`, or one `Notice`.
"""

from __future__ import annotations

import enum
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

from repltap.errors import ReplTapError, SinkError, SinkErrorKind
from repltap.quoting import quoted
from repltap.tls import ClientTls, client_tls
from repltap.values import boolean, choice, integer, path, seconds, secret, size, text, words

ENVELOPE_VERSION = 1

__all__ = [
    "ENVELOPE_VERSION",
    "AnyRecord",
    "ClientTls",
    "Kind",
    "Notice",
    "Option",
    "Record",
    "ReplTapError",
    "RespForm",
    "Sample",
    "Sink",
    "SinkContext",
    "SinkError",
    "SinkErrorKind",
    "SnapshotMode",
    "SnapshotRecord",
    "Transaction",
    "boolean",
    "choice",
    "client_tls",
    "integer",
    "path",
    "quoted",
    "seconds",
    "secret",
    "size",
    "text",
    "words",
]


class Kind(enum.Enum):
    """What a record is; the values are those of the envelope."""

    COMMAND = "command"
    SNAPSHOT_BEGIN = "snapshot_begin"  # what was delivered before is replaced by what follows
    SNAPSHOT = "snapshot"
    SNAPSHOT_END = "snapshot_end"
    HISTORY = "history"  # a new replid, or a full resync
    GAP = "gap"  # bytes that were let go before they could be delivered
    HEARTBEAT = "heartbeat"


class SnapshotMode(enum.Enum):
    """When a sink is given a snapshot."""

    NEVER = "never"
    INITIAL = "initial"  # as the very first
    WHEN_NEEDED = "when_needed"  # and where the stream alone is not enough: a gap, a new history
    ALWAYS = "always"  # and whenever the sink is started


class Transaction(NamedTuple):
    """Where a command stands in a MULTI/EXEC of the stream.

    Attributes:
        id: The offset of the MULTI.
        ordinal: Its place in the master's transaction, from 0; a filter leaves gaps.
        last: No other record of this transaction follows.
    """

    id: int
    ordinal: int
    last: bool


class Record(NamedTuple):
    """A command that the master has executed.

    A named tuple: there are hundreds of thousands a second, and nothing else that can't be changed
    is made as quickly.

    Attributes:
        source: The configured name of the upstream.
        replid: The replication id that names its offsets.
        offset_start, offset_end: Its bytes in the stream, half-open.
        db: The database that was selected, None where that is not known.
        cmd: The command's name in upper case.
        words: The command as it was sent: its name, in the case it came in, and its arguments.
        key_positions: Which of the words are keys.
        tx: The transaction that it is part of, None for none.
        ts_ms: When its last byte came in at the relay, Unix milliseconds, at most 50 late.
        size: What its arguments had, in bytes, where a limit has cut one of them; else None.
        redacted: Arguments were hashed, cut or removed on purpose.
    """

    source: str
    replid: str
    offset_start: int
    offset_end: int
    db: int | None
    cmd: str
    words: list[bytes]
    key_positions: tuple[int, ...]
    tx: Transaction | None
    ts_ms: int
    size: int | None
    redacted: bool

    @property
    def kind(self) -> Kind:
        """COMMAND."""
        return Kind.COMMAND

    @property
    def id(self) -> str:
        """What tells a record from any other, also over a restart: the key to drop doubles by."""
        return f"{self.replid}:{self.offset_end}"

    @property
    def args(self) -> list[bytes]:
        """The arguments after the name."""
        return self.words[1:]

    @property
    def keys(self) -> list[bytes]:
        """The keys among the arguments, by the command's own key specification."""
        return [self.words[position] for position in self.key_positions]


class SnapshotRecord(NamedTuple):
    """A key of a snapshot with its value, or a part of it; or a library of functions.

    Attributes:
        source: The configured name of the upstream.
        replid: The replication id that names `offset`.
        offset: The snapshot holds the effect of every byte of the stream before this.
        ordinal: Its place in the snapshot, from 0; a filter leaves gaps.
        db: Its database; None for a library.
        key: Its name; None for a library.
        type: string, list, set, zset, hash, stream, module, or function.
        value: What `repltap.rdb.entries` has for the type: bytes, or a named tuple with the
            elements of this part. None where it was removed on purpose.
        expire_at_ms: Unix milliseconds, None for never.
        part, last: A large value comes in parts, from 0; nothing of the key follows the last one.
        ts_ms: When the snapshot was complete at the relay, Unix milliseconds.
        size: What the value had, in bytes, where a limit has cut it; else None.
        redacted: The value was hashed, cut or removed on purpose.
        entry: All that was read of it, for the forms that rebuild the key.
    """

    source: str
    replid: str
    offset: int
    ordinal: int
    db: int | None
    key: bytes | None
    type: str
    value: bytes | tuple[Any, ...] | None  # Any: the elements differ by type
    expire_at_ms: int | None
    part: int
    last: bool
    ts_ms: int
    size: int | None
    redacted: bool
    entry: tuple[Any, ...]  # Any: repltap.rdb is not for sinks to import

    @property
    def kind(self) -> Kind:
        """SNAPSHOT."""
        return Kind.SNAPSHOT

    @property
    def id(self) -> str:
        """What tells a record from any other: the same whenever the same snapshot is delivered."""
        return f"{self.replid}:{self.offset}:{self.ordinal}"

    @property
    def keys(self) -> list[bytes]:
        """The key, if it has one."""
        return [] if self.key is None else [self.key]


class Notice(NamedTuple):
    """Something about the stream itself, or about a snapshot.

    Attributes:
        kind: SNAPSHOT_BEGIN, SNAPSHOT_END, HISTORY, GAP or HEARTBEAT.
        id: What tells a record from any other.
        source: The configured name of the upstream.
        replid: The replication id from here on.
        offset_start, offset_end: GAP: the bytes that nobody will deliver. HISTORY: what was
            delivered of the bytes that are not part of the history any more, empty for none. Else
            empty, at the place it is about.
        ts_ms: When it was noticed, Unix milliseconds.
        details: What more there is to say, by kind: see docs/sinks.md.
    """

    kind: Kind
    id: str
    source: str
    replid: str
    offset_start: int
    offset_end: int
    ts_ms: int
    details: Mapping[str, str | int]


AnyRecord = Record | SnapshotRecord | Notice


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A setting of a sink: `name = ...` under `[sink.NAME]`, or `name=...` in `--sink`.

    Attributes:
        name: Lower case, with underscores.
        parse: From text or a TOML value; ValueError says what it wanted. This module has the usual
            ones.
        help: One line for people.
        default: The value where it is not given.
        required: It has to be given.
        secret: Its value is never shown, and never taken from the command line; `NAME_file` names
            a file that holds it.
        table: It can be a table of the file, `[sink.NAME.OPTION]`; `parse` is given a mapping then,
            with tables in it where names have dots. Others are never given one.
    """

    name: str
    parse: Callable[[object], object]
    help: str
    default: object = None
    required: bool = False
    secret: bool = False
    table: bool = False


class RespForm(Protocol):
    """Writes records as commands that a server executes, one form for one continuous output."""

    def write(self, records: Sequence[AnyRecord]) -> bytes:
        """Write records that follow those before.

        Commands are the master's own bytes where nothing was changed; SELECT, MULTI and EXEC are
        put where they are needed. A snapshot begins with FLUSHALL where it is not filtered; its
        keys are RESTOREd, or built by commands where they are too large for that; either way they
        replace keys that are there.

        Raises:
            SinkError: The target knows no command for it.
        """


class Sample(NamedTuple):
    """A metric that a sink exports through the relay's `/metrics`.

    Attributes:
        name: Without the prefix `repltap_`; a counter's ends in `_total`.
        help: One line.
        labels: Names and values, few of them: their number has to be bounded.
        value: A counter's only rises.
    """

    name: str
    help: str
    labels: Mapping[str, str]
    value: float


class SinkContext(Protocol):
    """What a sink is given when it is opened.

    Attributes:
        name: Of the sink, as configured.
        source: The configured name of the upstream.
        place: Where the records will go on; None at the very first start. Opaque.
        state: What the last `commit` returned.
        reset: `repltap sink reset` has said where to go on, and no commit has followed yet: a place
            that the target holds counts only where `counts` says so.
        log: For what an operator should know; never a value, never a secret.
    """

    name: str
    source: str
    place: str | None
    state: Mapping[str, Any]  # Any: JSON
    reset: bool
    log: logging.Logger

    def counts(self, place: str) -> bool:
        """Tell whether a place that the target holds counts: not if it is from before a reset.

        `open` need not ask, and returns what the target holds: one that does not count is passed
        over. What else the target holds of that time may not count either: that asks.
        """

    def json_lines(self, records: Sequence[AnyRecord]) -> bytes:
        """Write records as the envelope's JSON, one a line."""

    def resp_form(self, *, target: str | None = None) -> RespForm:
        """Begin an output of commands.

        Args:
            target: The server they are for, such as `redis-6.2`; None for the master's own kind.
        """

    def wait(self, seconds: float) -> bool:
        """Wait, but not past the time that the sink is told to stop; tells whether it was."""

    def sent(self, size: int) -> None:
        """Count bytes that were put out."""

    def discarded(self, count: int, *, intentional: bool) -> None:
        """Count records that were left out; `intentional` if the configuration says so."""


class Sink(ABC):
    """Where records go. Register it under the entry point group `repltap.sinks`.

    Making one only looks at the settings, and is done before anything starts: what a sink holds, it
    gets by `open`. Settings that don't go together are a ValueError of `__init__`, which says as
    `parse` does what is wrong, beginning with the name of one of them.

    Args:
        settings: The values of `options`, by name, parsed, defaults filled in.

    Attributes:
        options: What can be set.
        target: The option that TARGET of `--sink TYPE:TARGET` sets, "" for none.
        exclusive: The option that names what no two sinks may write to, "" for none.
        snapshots: When it is given snapshots where nothing is configured.
        whole_transactions: `commit` is called between transactions only, never within one that is
            delivered in parts because it is large.
        commit_seconds, commit_bytes: How long, and with how many bytes, records wait for `commit`
            where nothing is configured. Less suits a target that takes a commit as one transaction.
        exactly_once: The target has each record once, whatever crashes; to be shown, nothing else
            follows from it. One that depends on settings sets it in `__init__`.
    """

    options: ClassVar[tuple[Option, ...]] = ()
    target: ClassVar[str] = ""
    exclusive: ClassVar[str] = ""
    snapshots: ClassVar[SnapshotMode] = SnapshotMode.NEVER
    whole_transactions: ClassVar[bool] = False
    commit_seconds: ClassVar[float] = 1.0
    commit_bytes: ClassVar[int] = 64 << 20
    exactly_once: bool = False

    def __init__(self, settings: Mapping[str, Any]) -> None:  # Any: as the options parse
        self.settings = settings

    @abstractmethod
    def open(self, context: SinkContext) -> str | None:
        """Make ready to write what follows the last commit.

        Args:
            context: Valid until `close`.

        Returns:
            The place that the target holds, if the sink keeps it there; None to go on from
            `context.place`. After a reset that is where it goes on until the next commit, whatever
            is returned, unless it was committed since.

        Raises:
            SinkError: It can't, for now or at all.
        """

    @abstractmethod
    def write(self, records: Sequence[AnyRecord]) -> None:
        """Take records. They need not be durable before `commit`.

        Args:
            records: Of one class, never empty.

        Raises:
            SinkError: They can't be taken, for now or at all. The sink is closed then; it is
                opened again later and given what follows its last commit.
        """

    @abstractmethod
    def commit(self, place: str) -> Mapping[str, Any] | None:
        """Make everything that was written durable in the target.

        Args:
            place: What follows it; to be kept with the records, or left to the caller.

        Returns:
            What `open` shall find as `context.state` after this commit, as JSON can hold it; at
            most 64 KiB. None for nothing.

        Raises:
            SinkError: As for `write`.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of everything; what is not committed need not survive. May be called twice.

        Raises:
            SinkError: Something failed that an operator should know of.
        """

    # Not every target has something to do then.
    def idle(self) -> None:  # noqa: B027
        """Do what is due without records: end a file by time, keep a connection alive.

        Called about once a second while there is nothing to write, and before an orderly `close`:
        everything is committed then, and what `commit` returned is kept.

        Raises:
            SinkError: As for `write`.
        """

    def samples(self) -> Sequence[Sample]:
        """Give the metrics that it exports; asked for about once a second, at most 2,000."""
        return ()
