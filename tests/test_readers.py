"""Who reads, who waits, and what is pinned."""

from __future__ import annotations

from pathlib import Path

from repltap.endings import DisconnectReason
from repltap.position import Offset
from repltap.readers import Readers
from tests.stored import START, hold, open_store


class Someone:
    """Counts what it is told, and detaches when it is dropped, as a session does."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self.pin = Offset(START)
        self.woken = 0
        self.dropped: list[str] = []

    def wake(self) -> None:
        self.woken += 1
        self._readers.wait(self)

    def drop(self, reason: DisconnectReason, detail: str) -> None:
        self.dropped.append(f"{reason.value}: {detail}")


def test_who_waits_is_woken_once_and_may_wait_again_at_once() -> None:
    readers = Readers()
    someone = Someone(readers)
    readers.wake_idle()
    assert someone.woken == 0
    readers.wait(someone)
    readers.wake_idle()  # it waits again within `wake`: that is for the next time
    assert someone.woken == 1
    assert list(readers.idle) == [someone]


def test_readers_of_one_history_are_dropped_together(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    try:
        history = hold(store, b"x")
        readers = Readers()
        stays, leaves = Someone(readers), Someone(readers)
        for each in (stays, leaves):
            readers.attach(each, history)
        readers.wait(leaves)
        readers.detach(leaves, history)
        assert (readers.of(history), list(readers.idle)) == ([stays], [])
        readers.drop(history, DisconnectReason.NEW_HISTORY, "over")
        assert (stays.dropped, leaves.dropped) == (["new_history: over"], [])
        readers.detach(stays, history)
        readers.detach(stays, history)
        assert readers.of(history) == []
    finally:
        store.close()


def test_the_last_pin_of_an_owner_counts() -> None:
    readers = Readers()
    readers.pin("a", Offset(5))
    readers.pin("a", Offset(7))
    readers.pin("b", Offset(1))
    assert sorted(readers.pins()) == [1, 7]
    readers.unpin("b")
    readers.unpin("b")
    assert list(readers.pins()) == [7]
