"""What a sink is given. Public: sinks import this module and nothing else of repltap.

A record's fields are those of the envelope, version 1, whose JSON form `repltap.delivery` writes:
what is not known is None here and absent there.
"""

from __future__ import annotations

from typing import NamedTuple

ENVELOPE_VERSION = 1


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
