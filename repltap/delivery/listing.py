"""Every command of a piece of stored stream, what frames others among them.

For looking at a journal; records for sinks come from `stream`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from repltap.delivery._hot.decoder import StreamDecoder
from repltap.position import Offset
from repltap.store.reader import Block

# What a master may send: its own limit of a value (`proto-max-bulk-len`) can be set to anything.
_COMMAND_BYTES = 1 << 62
_ARGS = 1 << 31


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


class CommandListing:
    """Turns blocks that continue each other into commands.

    Args:
        start: Where the first block begins; a command boundary.
        db: The database that is selected there, None where that is not known.
    """

    def __init__(self, start: Offset, db: int | None) -> None:
        self._db = db
        self._decoder = StreamDecoder(start, _COMMAND_BYTES, _ARGS)

    def feed(self, block: Block) -> Iterator[StoredCommand]:
        """Give the commands that this block completes.

        Raises:
            RemoteProtocolError: The master has sent something else; says where.
        """
        for start, end, words in self._decoder.feed(block.data):
            yield StoredCommand(Offset(start), Offset(end), self._db, words, block.time_ns)
            if len(words) == 2 and words[0].upper() == b"SELECT" and words[1].isdigit():
                self._db = int(words[1])
        if self._decoder.error is not None:
            raise self._decoder.error
