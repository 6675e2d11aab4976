"""The age of the first byte that a replica has not acknowledged, and the limit on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from repltap import lag as lag_module
from repltap.lag import Lag
from repltap.position import Offset
from repltap.store.journal import Journal
from repltap.store.store import Store
from tests.stored import START, hold, open_store

SECOND = 10**9
T = 1_800_000_000


class Clock:
    """The wall clock, in seconds."""

    def __init__(self) -> None:
        self.wall = float(T)

    def time_ns(self) -> int:
        return int(self.wall * SECOND)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(lag_module, "time", made)
    return made


@pytest.fixture
def journal(tmp_path: Path, clock: Clock) -> Iterator[Journal]:
    """A hundred bytes at T, a hundred more at T + 10 and at T + 20; it is T + 20 now."""
    store: Store = open_store(tmp_path, segment_bytes=250)
    history = hold(store)
    for _ in range(3):
        grow(history.journal, clock)
        clock.wall += 10
    clock.wall -= 10
    yield history.journal
    store.close()


def grow(journal: Journal, clock: Clock) -> None:
    journal.append(bytes(100), clock.time_ns())
    journal.flush_index(clock.time_ns() + SECOND // 10)


@pytest.mark.parametrize(
    ("acked", "seconds"), [(0, 20), (99, 20), (100, 10), (199, 10), (200, 0), (300, 0), (400, 0)]
)
def test_the_first_byte_that_is_missing_counts(
    journal: Journal, clock: Clock, acked: int, seconds: float
) -> None:
    assert Lag(None).measure(journal, Offset(START + acked), 0.0) == seconds
    clock.wall += 5
    later = Lag(None).measure(journal, Offset(START + acked), 0.0)
    assert later == (0 if acked >= 300 else seconds + 5)


def test_a_byte_without_a_record_is_new(
    journal: Journal, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(journal, clock)
    monkeypatch.setattr(journal, "time_of", lambda offset: None)
    lag = Lag(None)
    assert lag.measure(journal, Offset(START + 300), 0.0) == 0
    assert lag.measure(journal, Offset(START + 300), 2.0) == 2  # with fsync off, it may stay so
    assert lag.measure(journal, Offset(START + 305), 3.0) == 0


def test_what_was_trimmed_is_as_old_as_what_is_left(journal: Journal) -> None:
    journal.trim(Offset(START + 250)).delete()
    assert journal.start > START
    assert Lag(None).measure(journal, START, 0.0) == 0


def test_it_is_armed_by_having_caught_up(journal: Journal, clock: Clock) -> None:
    """One that comes from far behind is left to catch up; later the limit holds for it."""
    lag = Lag(5.0)
    assert lag.exceeded(journal, None, 0.0) is None
    assert lag.exceeded(journal, START, 0.0) is None  # 20 s, but not armed
    assert lag.exceeded(journal, Offset(START + 150), 1.0) is None
    assert lag.exceeded(journal, Offset(START + 300), 2.0) is None  # has caught up
    grow(journal, clock)
    for second in range(1, 6):
        clock.wall += 1
        assert lag.exceeded(journal, Offset(START + 300), 2.0 + second) is None
    clock.wall += 1
    assert lag.exceeded(journal, Offset(START + 300), 8.0) == 6
    assert lag.exceeded(journal, Offset(START + 400), 9.0) is None


def test_without_a_limit_nothing_is_looked_up(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "time_of", None)
    assert Lag(None).exceeded(journal, START, 0.0) is None
    assert Lag(5.0).exceeded(journal, journal.end, 0.0) is None  # nor when all is acknowledged


def test_nothing_is_read_for_who_keeps_up(
    journal: Journal, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lag = Lag(5.0)
    assert lag.exceeded(journal, START, 0.0) is None
    with monkeypatch.context() as patch:
        patch.setattr(journal, "time_of", None)
        for second in range(1, 10):
            had = journal.end
            grow(journal, clock)
            assert lag.exceeded(journal, had, float(second)) is None
    had = journal.end
    grow(journal, clock)
    clock.wall += 7
    assert lag.exceeded(journal, had, 17.0) == 7  # armed by having kept up


def test_a_clock_that_jumps_ahead_makes_nobody_late(journal: Journal, clock: Clock) -> None:
    lag = Lag(5.0)
    acked = Offset(START + 300)
    assert lag.exceeded(journal, acked, 0.0) is None
    grow(journal, clock)
    clock.wall += 86_400
    assert lag.exceeded(journal, acked, 1.0) is None
    assert lag.measure(journal, acked, 1.5) == 1.5
    assert lag.exceeded(journal, acked, 5.5) == 5.5  # it is, when the time has passed


def test_a_clock_that_jumps_back_makes_nobody_late(journal: Journal, clock: Clock) -> None:
    lag = Lag(5.0)
    clock.wall -= 86_400
    assert lag.measure(journal, START, 0.0) == 0
    assert lag.exceeded(journal, START, 1.0) is None


def test_an_index_that_can_not_be_read(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    lag = Lag(5.0)
    assert lag.measure(journal, Offset(START + 100), 0.0) == 10
    index = journal.segments[0].path.with_suffix(".idx")
    index.rename(index.with_suffix(".away"))
    assert lag.measure(journal, Offset(START + 100), 2.0) == 12
    assert Lag(5.0).measure(journal, Offset(START + 100), 2.0) is None
    assert Lag(5.0).exceeded(journal, Offset(START + 100), 2.0) is None
    index.with_suffix(".away").rename(index)
