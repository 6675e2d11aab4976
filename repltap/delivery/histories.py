"""Which of the stored histories a place is in, which comes after it, and where one begins."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from repltap.delivery.names import is_named, name_at
from repltap.delivery.place import Place
from repltap.delivery.stream import StreamState
from repltap.excerpt import command_end, command_start, database_at
from repltap.position import Offset
from repltap.store.history import METADATA_NAME
from repltap.store.metadata import storage_error
from repltap.store.reader import HistoryReader, StoreReader
from repltap.store.store import HISTORIES_NAME, history_number


def _nothing() -> None:
    """Nobody waits for a sign of life."""


def stored_histories(data_dir: Path) -> tuple[HistoryReader, ...]:
    """Look at the published histories, oldest first.

    Raises:
        DataDirError: It is no data directory, or can't be read.
    """
    return StoreReader(data_dir).histories


def has_later(data_dir: Path, number: int) -> bool:
    """Tell whether a later history is published; quick, for each time that nothing comes in.

    Raises:
        DataDirError: It can't be read.
    """
    directory = data_dir / HISTORIES_NAME
    try:
        return any(
            found is not None and found > number and (directory / name / METADATA_NAME).exists()
            for name in os.listdir(directory)  # noqa: PTH208 - names only
            for found in (history_number(name),)
        )
    except OSError as exc:
        raise storage_error(exc, directory) from exc


def locate(histories: Sequence[HistoryReader], place: Place) -> HistoryReader | None:
    """Find the history that a place is in.

    Its replid says which, as its bytes are the same wherever they are stored: a target may hold a
    place of another data directory, in which the histories have other numbers.

    Raises:
        CorruptStoreError: The `history.json` of one can't be believed.
    """
    named = [h for h in histories if is_named(h.metadata.history, place.replid)]
    for history in named:
        if history.number == place.history:
            return history
    return named[-1] if named else None


def next_history(histories: Sequence[HistoryReader], place: Place) -> HistoryReader | None:
    """Find the first history after the one of a place, None where there is none."""
    later = (history for history in histories if history.number > place.history)
    return next(later, None)


def earliest(history: HistoryReader, pulse: Callable[[], None] = _nothing) -> Place | None:
    """Find the first command that a history holds; None where there is none yet.

    Args:
        history: Which.
        pulse: Called now and then; may raise to end it.

    Raises:
        StoreError: It can't be read, or has been trimmed or removed meanwhile.
    """
    view = history.journal()
    end = view.end()
    found = command_start(history.metadata, view, view.start, end)
    if found is None:
        return None
    return _place(history, found, database_at(history.metadata, view, found, pulse))


def latest(history: HistoryReader, pulse: Callable[[], None] = _nothing) -> Place | None:
    """Find the end of what a history holds; None where it can't be told yet.

    Args:
        history, pulse: As for `earliest`.

    Raises:
        StoreError: It can't be read, or has been trimmed or removed meanwhile.
    """
    view = history.journal()
    end = view.end()
    if end == history.metadata.start_offset:
        return _place(history, end, history.metadata.start_db)
    found = command_end(view, end)
    return _place(history, found, database_at(history.metadata, view, found, pulse))


def at_offset(history: HistoryReader, offset: Offset) -> Place | None:
    """Find the first command at an offset or behind it; None where it holds none.

    Raises:
        StoreError: It can't be read, or has been trimmed or removed meanwhile.
    """
    view = history.journal()
    end = view.end()
    found = offset if offset == end else command_start(history.metadata, view, offset, end)
    if found is None:
        return None
    return _place(history, found, database_at(history.metadata, view, found))


def _place(history: HistoryReader, offset: Offset, db: int | None) -> Place:
    replid = name_at(history.metadata.history, offset)
    return Place.stream(history.number, replid, StreamState(offset, db))
