"""Where commands begin and end in a stored journal, and in which database.

For what begins to read in the middle. What can't be known is left out, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from repltap.position import Offset
from repltap.protocol.psync import boundaries, first_boundary, journal_resume_point
from repltap.store.history import HistoryMetadata
from repltap.store.reader import JournalReader

_WINDOWS = (1 << 20, 8 << 20, 64 << 20)
"""How much is looked at for a boundary, in turn; the last is enough for values of its size."""

_LOOK_BACK_BYTES = 1 << 20
_SELECT = re.compile(rb"\*2\r\n\$6\r\nSELECT\r\n\$[0-9]{1,2}\r\n([0-9]{1,10})\r\n", re.IGNORECASE)
_SELECT_BYTES = len(b"*2\r\n$6\r\nSELECT\r\n$10\r\n1234567890\r\n")


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


def database_at(
    metadata: HistoryMetadata,
    view: JournalReader,
    at: Offset,
    pulse: Callable[[], None] = lambda: None,
) -> int | None:
    """Find out which database is selected at a command boundary.

    Args:
        metadata: Of the history.
        view: Its journal; it is searched backwards for the last SELECT.
        at: The boundary.
        pulse: Called now and then: with one database there may be no SELECT in many gigabytes.

    Returns:
        Its number; None when the SELECT has been trimmed.

    Raises:
        StoreError: As for `JournalReader.blocks`.
    """
    end = at
    while end > view.start:
        pulse()
        start = Offset(max(view.start, end - _LOOK_BACK_BYTES))
        # An overlap, so that no SELECT is missed where two windows meet.
        window = _read(view, start, Offset(min(end + _SELECT_BYTES, at)))
        selects = {start + match.start(): int(match[1]) for match in _SELECT.finditer(window)}
        if selects:
            found = _commands_among(metadata, view, selects.keys(), at)
            if found is None:
                return None
            if found:
                return selects[max(found)]
        end = start
    return metadata.start_db if view.start == metadata.start_offset else None


def _commands_among(
    metadata: HistoryMetadata, view: JournalReader, places: Collection[int], at: Offset
) -> list[int] | None:
    """Tell at which of these places commands begin: what looks like one may be inside a value.

    What such a value holds leads from command to command as the stream itself does, so it has to be
    come upon from before the value.

    Returns:
        None when that can't be told.
    """
    end = Offset(min(max(places) + _LOOK_BACK_BYTES, at))
    for size in _WINDOWS:
        start = Offset(max(view.start, min(places) - size))
        known = start == metadata.start_offset
        found = boundaries(_read(view, start, end), start, known_boundary=known)
        if found is not None:
            return [place for place in found if place in places]
        if start == view.start:
            break
    return None


def _read(view: JournalReader, start: Offset, end: Offset) -> bytes:
    return b"".join(block.data for block in view.blocks(start, end))
