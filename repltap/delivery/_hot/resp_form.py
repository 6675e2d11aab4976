"""Records as the bytes that came from the master, for a server or `redis-cli --pipe` to execute.

PING and GETACK are not in it, nor what a filter leaves out; SELECT, MULTI and EXEC are written
where the records need them. With all records that is the stream itself, but for a SELECT that
selects what is selected.
"""

from __future__ import annotations

from repltap.sink import Record

_MULTI = b"*1\r\n$5\r\nMULTI\r\n"
_EXEC = b"*1\r\n$4\r\nEXEC\r\n"
_DISCARD = b"*1\r\n$7\r\nDISCARD\r\n"


class RespForm:
    """Writes records that follow each other.

    Args:
        db: The database that is selected where they are executed, None for not known: then the
            first record gets a SELECT.

    Attributes:
        db: The same, after what was written.
    """

    def __init__(self, db: int | None = None) -> None:
        self.db: int | None = db
        self._tx_id: int = -1  # whose MULTI has been written, without an EXEC

    def write(self, records: list[Record], window: bytes, window_start: int) -> bytes:
        """Write records.

        Args:
            records: What comes next.
            window: What they were decoded from: most bytes are copied from there in one piece. The
                others are encoded again, which gives the same bytes. b"" for changed records.
            window_start: The offset of its first byte.
        """
        parts: list[bytes] = []
        run_start, run_end = -1, -1  # what is to be copied in one piece
        for record in records:
            start = record.offset_start
            end = record.offset_end
            tx = record.tx
            plain = tx is None and record.db == self.db and self._tx_id < 0
            if plain and start == run_end:
                run_end = end
                continue
            if run_end > run_start:
                parts.append(window[run_start - window_start : run_end - window_start])
                run_start, run_end = -1, -1
            if not plain:
                self._frame(record, parts)
            if start >= window_start and end <= window_start + len(window):
                run_start, run_end = start, end
            else:
                parts.append(encode(record.words))
            if tx is not None and tx.last:
                if run_end > run_start:
                    parts.append(window[run_start - window_start : run_end - window_start])
                    run_start, run_end = -1, -1
                parts.append(_EXEC)
                self._tx_id = -1
        if run_end > run_start:
            parts.append(window[run_start - window_start : run_end - window_start])
        return b"".join(parts)

    def interrupt(self) -> bytes:
        """Write what ends an open transaction, b"" where there is none.

        Its EXEC never came: the history has ended within it, and no replica has executed it.
        """
        if self._tx_id < 0:
            return b""
        self._tx_id = -1
        self.db = None  # what was selected before it
        return _DISCARD

    def _frame(self, record: Record, parts: list[bytes]) -> None:
        """Write what has to stand before a record."""
        if self._tx_id >= 0 and (record.tx is None or record.tx.id != self._tx_id):
            parts.append(self.interrupt())
        if record.tx is not None and record.tx.id != self._tx_id:
            parts.append(_MULTI)
            self._tx_id = record.tx.id
        if record.db != self.db and record.db is not None:
            parts.append(encode([b"SELECT", b"%d" % record.db]))
        self.db = record.db


def encode(words: list[bytes]) -> bytes:
    """Encode a command as masters do."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        parts.append(b"$%d\r\n" % len(word))
        parts.append(word)
        parts.append(b"\r\n")
    return b"".join(parts)
