"""What is older than a limit, whatever the wall clock does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from repltap import ages
from repltap.ages import JournalAge
from repltap.position import Offset
from repltap.store.journal import Journal
from repltap.store.store import Store
from tests.stored import OTHER, START, hold, open_store

LIMIT = 64.0  # a mark each second
SECOND = 10**9


class Clocks:
    """Both clocks; `pass_by` moves them together, setting `wall` is an operator or NTP."""

    def __init__(self) -> None:
        self.wall = 1_800_000_000.0
        self.passed = 5_000.0

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.passed += seconds

    def time_ns(self) -> int:
        return int(self.wall * SECOND)

    def monotonic(self) -> float:
        return self.passed


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    made = Clocks()
    monkeypatch.setattr(ages, "time", made)
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path, segment_bytes=1000)
    yield opened
    opened.close()


def grow(journal: Journal, clocks: Clocks, size: int = 100) -> None:
    journal.append(bytes(size), clocks.time_ns())
    journal.flush_index(clocks.time_ns() + SECOND // 10)


def live(journal: Journal, clocks: Clocks, age: JournalAge, seconds: int) -> Offset:
    """A hundred bytes a second, asked each second."""
    found = age.expired(journal)
    for _ in range(seconds):
        grow(journal, clocks)
        clocks.pass_by(1)
        found = age.expired(journal)
    return found


def test_what_came_while_it_runs(store: Store, clocks: Clocks) -> None:
    journal = hold(store).journal
    age = JournalAge(LIMIT)
    assert live(journal, clocks, age, 64) == START
    assert live(journal, clocks, age, 100) == START + 100 * 100


def test_an_idle_master(store: Store, clocks: Clocks) -> None:
    """Time passes, no byte comes: all of it expires."""
    journal = hold(store).journal
    grow(journal, clocks, 5000)
    age = JournalAge(LIMIT)
    for second in range(70):
        assert age.expired(journal) == (START if second < 64 else journal.end)
        clocks.pass_by(1)


def test_little_is_remembered(store: Store, clocks: Clocks) -> None:
    journal = hold(store).journal
    age = JournalAge(LIMIT * 100)
    for _ in range(20_000):
        age.expired(journal)
        clocks.pass_by(1)
    assert len(age._marks) <= 66


@pytest.mark.parametrize("jump", [-86_400, 86_400, 10 * 365 * 86_400])
def test_a_clock_that_is_set_makes_nothing_old_or_young(
    store: Store, clocks: Clocks, jump: float
) -> None:
    journal = hold(store).journal
    age = JournalAge(LIMIT)
    live(journal, clocks, age, 30)
    clocks.wall += jump
    assert live(journal, clocks, age, 34) == START
    assert live(journal, clocks, age, 20) == START + 20 * 100


def test_what_was_there_before_the_start(store: Store, clocks: Clocks) -> None:
    """By the times in the index, a segment at once, and without waiting for the limit."""
    journal = hold(store).journal
    for _ in range(10):
        grow(journal, clocks, 500)
        clocks.pass_by(10)
    age = JournalAge(LIMIT)
    # 5 segments of bytes of two times each; the last of them came 90, 70, 50, 30 and 10 s ago.
    assert age.expired(journal) == START + 2000
    clocks.pass_by(10)
    assert age.expired(journal) == START + 2000
    clocks.pass_by(10)
    assert age.expired(journal) == START + 3000
    clocks.pass_by(20)
    assert age.expired(journal) == START + 4000
    clocks.pass_by(LIMIT)
    assert age.expired(journal) == journal.end


def test_times_ahead_of_the_clock_count_as_new(store: Store, clocks: Clocks) -> None:
    """The clock was set back while repltap was down: kept for the limit from the start on."""
    journal = hold(store).journal
    for _ in range(10):
        grow(journal, clocks, 500)
    clocks.wall -= 86_400
    age = JournalAge(LIMIT)
    assert age.expired(journal) == START
    clocks.pass_by(LIMIT - 1)
    assert age.expired(journal) == START
    clocks.pass_by(1)
    assert age.expired(journal) == journal.end


def test_no_more_is_read_than_the_oldest_segments(
    store: Store, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = hold(store).journal
    for _ in range(20):
        grow(journal, clocks, 1000)
    asked = []
    last_time = ages.timemap.last_time
    monkeypatch.setattr(
        ages.timemap, "last_time", lambda segment: asked.append(segment) or last_time(segment)
    )
    JournalAge(LIMIT).expired(journal)
    assert len(asked) == 1


def test_another_history_begins_anew(store: Store, clocks: Clocks) -> None:
    first = hold(store).journal
    grow(first, clocks, 5000)
    age = JournalAge(LIMIT)
    age.expired(first)
    clocks.pass_by(LIMIT)
    assert age.expired(first) == first.end
    second = hold(store, replid=OTHER).journal
    grow(second, clocks)
    assert age.expired(second) == START
    clocks.pass_by(LIMIT)
    assert age.expired(second) == second.end


def test_a_journal_that_was_cut(store: Store, clocks: Clocks) -> None:
    journal = hold(store).journal
    grow(journal, clocks, 5000)
    age = JournalAge(LIMIT)
    age.expired(journal)
    journal.truncate(Offset(START + 500))
    clocks.pass_by(LIMIT)
    assert age.expired(journal) == START + 500
