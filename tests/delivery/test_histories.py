from pathlib import Path

from repltap.delivery.histories import (
    earliest,
    has_later,
    latest,
    locate,
    next_history,
    stored_histories,
)
from repltap.delivery.place import Place
from repltap.delivery.stream import StreamState
from tests.delivery.stored import THIRD, Stored, sets
from tests.stored import OTHER, REPLID, START, command


def place(history: int, replid: str = REPLID) -> Place:
    return Place.stream(history, replid, StreamState(START, 0))  # type: ignore[arg-type]


def test_the_replid_says_which_history_it_is(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(1)).fail_over(OTHER)
    stored.begin(sets(2), replid=THIRD)
    histories = stored_histories(tmp_path)
    for replid in (REPLID, OTHER):
        for number in (1, 2, 9):
            found = locate(histories, place(number, replid))
            assert found is not None
            assert found.number == 1
    assert locate(histories, place(1, "b" * 40)) is None


def test_the_next_history_is_the_first_after_it(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(1))
    assert not has_later(tmp_path, 1)
    stored.store.begin_history(OTHER, START, origin="arriving")
    assert not has_later(tmp_path, 1)
    stored.begin(replid=THIRD)
    assert has_later(tmp_path, 1)
    found = next_history(stored_histories(tmp_path), place(1))
    assert found is not None
    assert found.metadata.history.replid == THIRD
    assert next_history(stored_histories(tmp_path), place(3)) is None


def test_where_a_history_begins_and_ends(tmp_path: Path) -> None:
    select = command(b"SELECT", b"5")
    stored = Stored(tmp_path).begin(sets(1) + select + sets(*range(100, 300)))
    (history,) = stored_histories(tmp_path)
    first, last = earliest(history), latest(history)
    assert first == place(1)
    assert last == Place.stream(1, REPLID, StreamState(stored.end, 5))
    stored.trim(stored.end - 1000)
    begun = earliest(history)
    assert begun is not None
    assert stored.history.journal.start <= begun.offset < stored.history.journal.start + 100
    assert begun.db is None  # its SELECT has been trimmed
    assert (begun.offset - START - len(sets(1)) - len(select)) % len(sets(100)) == 0


def test_an_empty_history_begins_where_it_will(tmp_path: Path) -> None:
    Stored(tmp_path).begin()
    (history,) = stored_histories(tmp_path)
    assert earliest(history) == latest(history) == place(1)
