"""Where the last whole command of a journal ends: the place a real replica would resume from.

A relay stores bytes and parses none, so it looks for the place when it needs it: after its link
broke. A wrong answer is harmless: the same bytes are asked for once more, or a failover costs a
full sync that a luckier guess had spared.
"""

from __future__ import annotations

from collections.abc import Sequence

from repltap.errors import NotRetainedError, RemoteProtocolError
from repltap.position import Offset
from repltap.protocol.psync import journal_resume_point
from repltap.protocol.resp import encode_command
from repltap.store.history import HistoryStore
from repltap.store.journal import Journal

TAIL_WINDOW_BYTES = 1 << 20
LARGE_WINDOW_BYTES = 8 << 20
"""How much of the tail is parsed: the first does for all but a cut within a large value, the second
for values up to its size; it is what this costs in memory for a moment."""

_LOOK_BACK_WINDOWS = 64
"""How many windows before it are searched for the MULTI of a transaction that is still open."""

_MULTI = encode_command(b"MULTI")
_EXEC = encode_command(b"EXEC")
_OVERLAP_BYTES = len(_MULTI) - 1


def compare_replayed(journal: Journal, at: Offset, data: memoryview | bytes) -> None:
    """Check that bytes which the master sends again are those that are stored.

    Args:
        journal: Where they are.
        at: The offset of the first. What the limits have made the journal give up can't be compared
            any more.
        data: No more than the journal holds.

    Raises:
        RemoteProtocolError: They differ.
    """
    if at >= journal.start and journal.read(at, len(data)) != data:
        raise RemoteProtocolError(
            f"the master continued at offset {at} with other bytes than it sent before",
            hint="its history is not the one it claims to be; a full sync follows",
        )


class Replay:
    """What the master sends once more, from a command boundary to the journal's end.

    Args:
        journal: Where it is stored.
        at: The offset of the first byte that is sent again, below the journal's end.

    Attributes:
        over: All that is stored has come again.
    """

    def __init__(self, journal: Journal, at: Offset) -> None:
        self._journal = journal
        self._at = at
        self.over = False

    def compare(self, data: memoryview | bytes) -> memoryview | bytes:
        """Check the next bytes of the stream, and give back what of them is new.

        Raises:
            RemoteProtocolError: They are others than those that are stored.
        """
        size = min(len(data), self._journal.end - self._at)
        compare_replayed(self._journal, self._at, data[:size])
        self._at = Offset(self._at + size)
        self.over = self._at == self._journal.end
        return data[size:]


def last_boundary(
    history: HistoryStore, windows: Sequence[int] = (TAIL_WINDOW_BYTES, LARGE_WINDOW_BYTES)
) -> Offset:
    """Find the end of the last whole command outside a transaction; blocking.

    Args:
        history: Whose journal.
        windows: How much of its tail is parsed, in bytes, one after the other until it shows a
            boundary.

    Returns:
        The offset, or the journal's end when its tail shows no boundary.
    """
    journal = history.journal
    for window_bytes in windows:
        start = Offset(max(journal.start, journal.end - window_bytes))
        try:
            offset = _boundary_after(history, start)
        except NotRetainedError:
            break  # trimmed meanwhile: there is plenty after it
        if offset is not None:
            return offset
        if start == journal.start:
            break
    return journal.end


def _boundary_after(history: HistoryStore, start: Offset) -> Offset | None:
    """Find the last boundary in the journal from `start` on, None if it shows none."""
    journal = history.journal
    tail = journal.read(start, journal.end - start)
    known = start == history.start_offset
    offset = journal_resume_point(tail, start, known_boundary=known)
    if offset is None:
        return None
    whole = tail[: offset - start]
    if known or _MULTI in whole or _EXEC in whole:
        return offset
    return _before_transaction(journal, start) or offset


def _before_transaction(journal: Journal, before: Offset) -> Offset | None:
    """Find the MULTI that is still open at `before`, None when there is none in reach."""
    end = before
    for _ in range(_LOOK_BACK_WINDOWS):
        if end <= journal.start:
            return None
        start = Offset(max(journal.start, end - TAIL_WINDOW_BYTES))
        # An overlap, so that no word is missed where two windows meet.
        window = journal.read(start, min(end + _OVERLAP_BYTES, before) - start)
        opened, closed = window.rfind(_MULTI), window.rfind(_EXEC)
        if opened > closed:
            return Offset(start + opened)
        if closed >= 0:
            return None
        end = start
    return None
