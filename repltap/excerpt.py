"""A part of a stored journal, as commands: where they begin, in which database, when they came.

For offline commands. The relay itself parses nothing of what it passes on; the decoder of the sinks
is another. What can't be known is left out, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from repltap.errors import RemoteProtocolError
from repltap.position import Offset
from repltap.protocol.psync import first_boundary, journal_resume_point
from repltap.protocol.resp import InputLimits, RespParser
from repltap.store.history import HistoryMetadata
from repltap.store.reader import Block, JournalReader

_WINDOWS = (1 << 20, 8 << 20, 64 << 20)
"""How much is looked at for a boundary, in turn; the last is enough for values of its size."""

_LOOK_BACK_BYTES = 1 << 20
_SELECT = re.compile(rb"\*2\r\n\$6\r\nSELECT\r\n\$[0-9]{1,2}\r\n([0-9]{1,10})\r\n", re.IGNORECASE)
_SELECT_BYTES = len(b"*2\r\n$6\r\nSELECT\r\n$10\r\n1234567890\r\n")

# What a master may send: its own limit of a value (`proto-max-bulk-len`) can be set to anything.
_LIMITS = InputLimits(command_bytes=1 << 62, args=1 << 31)


@dataclass(frozen=True, slots=True)
class StoredCommand:
    """One command of the stream.

    Attributes:
        start, end: Its bytes, half-open.
        db: The database that was selected for it, None where that is not known.
        args: Its name, and its arguments.
        time_ns: When its last byte came in, Unix nanoseconds.
    """

    start: Offset
    end: Offset
    db: int | None
    args: list[bytes]
    time_ns: int


class CommandParser:
    """Turns blocks that continue each other into commands.

    Args:
        start: Where the first block begins; a command boundary.
        db: The database that is selected there, None where that is not known.
    """

    def __init__(self, start: Offset, db: int | None) -> None:
        self._start = start
        self._db = db
        self._parser = RespParser(_LIMITS)

    def feed(self, block: Block) -> Iterator[StoredCommand]:
        """Give the commands that this block completes.

        Raises:
            RemoteProtocolError: The master has sent something else; says where.
        """
        parser = self._parser
        parser.feed(block.data)
        while True:
            start = Offset(self._start + parser.consumed)
            try:
                command = parser.next_command()
            except RemoteProtocolError as exc:
                reason = exc.message.removeprefix("ERR Protocol error: ")
                raise _no_command(start, reason) from exc
            if command is None:
                return
            if command.inline:
                raise _no_command(start, "it does not begin with *")
            args = command.args
            if args:
                end = Offset(start + command.length)
                yield StoredCommand(start, end, self._db, args, block.time_ns)
                if len(args) == 2 and args[0].upper() == b"SELECT" and args[1].isdigit():
                    self._db = int(args[1])


def command_start(
    metadata: HistoryMetadata, view: JournalReader, start: Offset, end: Offset
) -> Offset | None:
    """Find the first command that begins at `start` or behind it.

    Args:
        metadata: Of the history.
        view: Its journal.
        start: Within the journal.
        end: How far to look.

    Returns:
        Where it begins; None when that can't be told from what is there.

    Raises:
        StoreError: As for `JournalReader.blocks`.
    """
    if start == metadata.start_offset:
        return start
    for size in _WINDOWS:
        window = _read(view, start, Offset(min(start + size, end)))
        found = first_boundary(window, start)
        if found is not None or len(window) < size:
            return found
    return None


def command_end(view: JournalReader, end: Offset) -> Offset:
    """Find the last command, or transaction, that ends at `end` or before it.

    Returns:
        Where it ends; `end` itself where that can't be told.

    Raises:
        StoreError: As for `JournalReader.blocks`.
    """
    for size in _WINDOWS:
        start = Offset(max(view.start, end - size))
        found = journal_resume_point(_read(view, start, end), start)
        if found is not None:
            return found
    return end


def database_at(metadata: HistoryMetadata, view: JournalReader, at: Offset) -> int | None:
    """Find out which database is selected at a command boundary.

    Args:
        metadata: Of the history.
        view: Its journal; it is searched backwards for the last SELECT.
        at: The boundary.

    Returns:
        Its number; None when the SELECT has been trimmed.

    Raises:
        StoreError: As for `JournalReader.blocks`.
    """
    end = at
    while end > view.start:
        start = Offset(max(view.start, end - _LOOK_BACK_BYTES))
        # An overlap, so that no SELECT is missed where two windows meet.
        window = _read(view, start, Offset(min(end + _SELECT_BYTES, at)))
        for match in reversed(list(_SELECT.finditer(window))):
            place = Offset(start + match.start())
            # What looks like one may be inside a value.
            behind = _read(view, place, Offset(min(place + _LOOK_BACK_BYTES, at)))
            if first_boundary(behind, place) == place:
                return int(match[1])
        end = start
    return metadata.start_db if view.start == metadata.start_offset else None


def _read(view: JournalReader, start: Offset, end: Offset) -> bytes:
    return b"".join(block.data for block in view.blocks(start, end))


def _no_command(offset: Offset, reason: str) -> RemoteProtocolError:
    return RemoteProtocolError(
        f"there is no command at offset {offset}: {reason}", hint="see it with --format raw"
    )
