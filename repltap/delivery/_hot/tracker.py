"""Decoded commands in, records out: which database, which transaction, which keys.

What only frames others is no record: SELECT, MULTI, EXEC, and what the master tells its replicas
(PING, REPLCONF GETACK), which is counted. A transaction is given out when its EXEC has come, as a
replica executes it then (Redis `replicationFeedSlaves` sends it piece by piece); one that is larger
than `hold_bytes` is given out in parts, always one command behind, so that the last one is known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from repltap.delivery._hot.commands import (
    DISCARD,
    EXEC,
    LINK,
    MAX_ONLY_KEY,
    MULTI,
    ORDINARY,
    SELECT,
    CommandInfo,
)
from repltap.delivery._hot.decoder import Entry
from repltap.sink import Record, Transaction

HOLD_BYTES: Final = 64 << 20
"""Memory for an open transaction. Those of clients have kilobytes; a script can write more."""

_RECORD_BYTES: Final = 400
_WORD_BYTES: Final = 50
"""What a record, and each of its words, takes in memory besides the bytes: a SET of 107 bytes on
the wire was measured to take 590."""

_MAX_SPELLINGS: Final = 4096
"""Names are looked up as they are written, in either case. A script can write one in any way."""

_POSITIONS: Final[list[tuple[int, ...]]] = [(position,) for position in range(MAX_ONLY_KEY)]

_new = tuple.__new__  # half the time of Record(...), whose arguments pass a function in Python


class Tracker:
    """Follows the stream from command to command.

    Args:
        find: Looks a command up by its upper-case name.
        source: The configured name of the upstream.
        accepts: Tells which records are wanted; None for all.
        db: The database that is selected at the beginning, None where that is not known.
        tx_id: The transaction that the beginning is in, -1 for none.
        tx_index: The place of the next command in it.
        hold_bytes: The memory that an open transaction may take.

    Attributes:
        db: The database that is selected now.
        left_out: How many commands between master and replicas there were, by name.
    """

    def __init__(
        self,
        find: Callable[[str], CommandInfo],
        source: str,
        accepts: Callable[[Record], bool] | None,
        db: int | None,
        tx_id: int = -1,
        tx_index: int = 0,
        hold_bytes: int = HOLD_BYTES,
    ) -> None:
        self.db: int | None = db
        self.left_out: dict[str, int] = {}
        self._find = find
        self._source = source
        self._accepts = accepts
        self._hold_bytes = hold_bytes
        self._spellings: dict[bytes, CommandInfo] = {}
        self._tx_id: int = tx_id
        self._tx_index: int = tx_index
        self._tx_db: int | None = db  # what was selected before MULTI
        self._tx_begun: bool = tx_id >= 0  # some of it has been given out
        self._held: list[Record] = []
        self._held_bytes: int = 0

    def track(self, entries: list[Entry], replid: str, ts_ms: int) -> list[Record]:
        """Follow the stream on.

        Args:
            entries: What comes next.
            replid: The id that names their offsets.
            ts_ms: When they came in, Unix milliseconds.

        Returns:
            The records that are complete with them.
        """
        records: list[Record] = []
        spellings, source, accepts = self._spellings, self._source, self._accepts
        for start, end, words in entries:
            name = words[0]
            info = spellings.get(name)
            if info is None:
                info = self._learn(name)
            if info.role != ORDINARY:
                self._frame(info, start, words, records)
                continue
            at = info.only_key
            if at > 0:
                positions = _POSITIONS[at] if at < len(words) else ()
            else:
                positions = info.key_positions(words)
            tx: Transaction | None = None
            if self._tx_id >= 0:
                tx = Transaction(self._tx_id, self._tx_index, False)
                self._tx_index += 1
            record: Record = _new(
                Record,
                (
                    source,
                    replid,
                    start,
                    end,
                    self.db,
                    info.name,
                    words,
                    positions,
                    tx,
                    ts_ms,
                    None,
                    False,
                ),
            )
            if accepts is not None and not accepts(record):
                continue
            if tx is None:
                records.append(record)
            else:
                self._hold(record, records)
        return records

    def resume_point(self, offset: int) -> tuple[int, int | None, int, int]:
        """Tell from where on a new tracker gives out what this one has not yet.

        Args:
            offset: The end of the last command that was tracked.

        Returns:
            The offset, and `db`, `tx_id` and `tx_index` for the new tracker.
        """
        if self._tx_id < 0:
            return offset, self.db, -1, 0
        if not self._tx_begun:
            return self._tx_id, self._tx_db, -1, 0
        if not self._held:
            return offset, self.db, self._tx_id, self._tx_index
        record = self._held[0]
        index = record.tx.ordinal if record.tx is not None else 0
        return record.offset_start, record.db, self._tx_id, index

    def abandon(self) -> int:
        """Drop an open transaction: its history ends here, and no replica has executed it.

        Returns:
            How many records were dropped.
        """
        dropped = len(self._held)
        self._close()
        return dropped

    def _learn(self, name: bytes) -> CommandInfo:
        if len(self._spellings) >= _MAX_SPELLINGS:
            self._spellings.clear()
        info = self._find(name.decode("ascii", "backslashreplace").upper())
        self._spellings[name] = info
        return info

    def _frame(
        self, info: CommandInfo, start: int, words: list[bytes], records: list[Record]
    ) -> None:
        role = info.role
        if role == LINK:
            self.left_out[info.name] = self.left_out.get(info.name, 0) + 1
        elif role == SELECT:
            self.db = int(words[1]) if len(words) == 2 and words[1].isdigit() else None
        elif role == MULTI and self._tx_id < 0:
            self._tx_id = start
            self._tx_db = self.db
        elif role == EXEC:
            if self._held:
                final = self._held.pop()
                records.extend(self._held)
                if final.tx is not None:
                    final = final._replace(tx=final.tx._replace(last=True))
                records.append(final)
            self._close()
        elif role == DISCARD and self._tx_id >= 0:
            # A state within a transaction does not hold what was selected before it.
            self.db = None if self._tx_begun else self._tx_db
            self._close()

    def _hold(self, record: Record, records: list[Record]) -> None:
        self._held.append(record)
        self._held_bytes += _memory(record)
        if self._held_bytes > self._hold_bytes and len(self._held) > 1:
            final = self._held.pop()
            records.extend(self._held)
            self._held = [final]
            self._held_bytes = _memory(final)
            self._tx_begun = True

    def _close(self) -> None:
        self._tx_id = -1
        self._tx_index = 0
        self._tx_begun = False
        self._held = []
        self._held_bytes = 0


def _memory(record: Record) -> int:
    size = record.offset_end - record.offset_start
    return size + _RECORD_BYTES + _WORD_BYTES * len(record.words)
