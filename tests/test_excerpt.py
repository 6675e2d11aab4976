"""Commands out of a stored journal."""

from pathlib import Path

from repltap.excerpt import command_end, command_start, database_at
from repltap.position import Offset
from repltap.store.options import StoreOptions
from repltap.store.reader import HistoryReader, JournalReader, StoreReader
from repltap.store.store import Store
from tests.stored import START, command, hold

SET = command(b"SET", b"key", b"value")
SELECT = command(b"SELECT", b"3")
# A value that looks like the stream itself.
TRICK = command(b"SET", b"trick", b"\r\n" + command(b"SELECT", b"9") + SET)


def look(path: Path, *commands: bytes, trimmed: int = 0) -> tuple[HistoryReader, JournalReader]:
    """Store commands, and give a view of them; `trimmed` segments of a kilobyte are gone."""
    options = StoreOptions(segment_bytes=1000, index_interval_bytes=100)
    store = Store.open(path, options)
    history = hold(store)
    history.journal.append(b"".join(commands), 1)
    if trimmed:
        history.journal.trim(history.journal.segments[trimmed].start).delete()
    store.close()
    found = StoreReader(path).history(None)
    return found, found.journal()


def test_beginning_inside_a_command(tmp_path: Path) -> None:
    history, view = look(tmp_path, *[SET] * 40)
    size = len(SET)
    for start in range(START, START + 3 * size):
        found = command_start(history.metadata, view, Offset(start), view.end())
        assert found == START + -(-(start - START) // size) * size


def test_beginning_inside_a_value_that_looks_like_commands(tmp_path: Path) -> None:
    history, view = look(tmp_path, SET, TRICK, SET, SET)
    wanted = START + len(SET) + len(TRICK)
    for start in range(START + len(SET) + 1, wanted + 1):
        assert command_start(history.metadata, view, Offset(start), view.end()) == wanted


def test_no_command_to_begin_with(tmp_path: Path) -> None:
    history, view = look(tmp_path, command(b"SET", b"k", b"v" * 500))
    assert command_start(history.metadata, view, Offset(START + 1), view.end()) is None
    assert command_start(history.metadata, view, START, view.end()) == START


def test_ending_with_a_command(tmp_path: Path) -> None:
    _, view = look(tmp_path, *[SET] * 40)
    for end in range(START + len(SET), START + 3 * len(SET)):
        assert command_end(view, Offset(end)) == START + (end - START) // len(SET) * len(SET)
    assert command_end(view, Offset(START + 3)) == START


def test_the_database_is_that_of_the_last_select(tmp_path: Path) -> None:
    history, view = look(tmp_path, SET, SELECT, *[TRICK] * 30)
    inside = START + len(SET) + len(SELECT)
    assert database_at(history.metadata, view, START) == 0
    assert database_at(history.metadata, view, Offset(START + len(SET))) == 0
    assert database_at(history.metadata, view, Offset(inside)) == 3
    assert database_at(history.metadata, view, Offset(inside + 30 * len(TRICK))) == 3


def test_the_select_has_been_trimmed(tmp_path: Path) -> None:
    history, view = look(tmp_path, SELECT, *[TRICK] * 60, trimmed=2)
    start = command_start(history.metadata, view, view.start, view.end())
    assert start is not None
    assert database_at(history.metadata, view, start) is None
    assert database_at(history.metadata, view, view.end()) is None


def test_a_select_in_a_value_that_ends_as_a_command_does(tmp_path: Path) -> None:
    # All of it up to the value's own line end: the walk leads from it into the stream.
    trap = command(b"SET", b"trap", (SELECT + SET)[:-2])
    history, view = look(tmp_path, command(b"SELECT", b"2"), SET, trap, SET)
    assert database_at(history.metadata, view, view.end()) == 2


def test_a_select_in_a_value_behind_what_was_trimmed(tmp_path: Path) -> None:
    trap = command(b"SET", b"trap", (SELECT + SET)[:-2])
    history, view = look(tmp_path, command(b"SELECT", b"2"), *[SET] * 60, trap, SET, trimmed=1)
    assert database_at(history.metadata, view, view.end()) is None
