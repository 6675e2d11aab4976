"""What was seen at the master against what has come, by a clock that the test sets."""

from __future__ import annotations

from repltap.position import Offset, ReplId
from repltap.sightings import MAX_MARKS, MasterLag, Sightings

ONE, OTHER = ReplId("1" * 40), ReplId("2" * 40)


def note(it: Sightings, offset: int, received: int, now: float, replid: ReplId = ONE) -> None:
    it.note(replid, Offset(offset), Offset(received), now)


def lag(it: Sightings, received: int, now: float, replid: ReplId = ONE) -> MasterLag | None:
    return it.lag(replid, Offset(received), now)


def test_nothing_is_known_before_the_first_look() -> None:
    assert lag(Sightings(5), 0, 0) is None


def test_no_lag() -> None:
    it = Sightings(5)
    note(it, 100, 100, 10)
    assert lag(it, 100, 11) == MasterLag(Offset(100), 0, 0.0)
    assert lag(it, 130, 11) == MasterLag(Offset(100), 0, 0.0)  # more has come since


def test_the_age_is_of_the_first_byte_that_has_not_come() -> None:
    it = Sightings(5)
    for now, offset in ((10, 100), (11, 200), (12, 200), (13, 300)):
        note(it, offset, 100, now)
    assert lag(it, 100, 14) == MasterLag(Offset(300), 200, 3)
    assert lag(it, 199, 14) == MasterLag(Offset(300), 101, 3)
    assert lag(it, 200, 14) == MasterLag(Offset(300), 100, 1)
    assert lag(it, 300, 14) == MasterLag(Offset(300), 0, 0.0)


def test_a_look_that_finds_a_lag_at_once() -> None:
    """The first after a start: how old it is, is not known; it is not made up."""
    it = Sightings(5)
    note(it, 900, 100, 10)
    assert lag(it, 100, 12) == MasterLag(Offset(900), 800, 2)


def test_what_was_seen_too_long_ago_is_not_known() -> None:
    it = Sightings(5)
    note(it, 100, 100, 10)
    assert lag(it, 100, 15) is not None
    assert lag(it, 100, 15.1) is None


def test_the_age_outlives_a_gap_in_the_looks() -> None:
    it = Sightings(5)
    note(it, 200, 100, 10)
    note(it, 300, 100, 60)
    assert lag(it, 100, 60) == MasterLag(Offset(300), 200, 50)


def test_another_history_is_not_compared() -> None:
    it = Sightings(5)
    note(it, 500, 100, 10)
    note(it, 900, 100, 11, OTHER)
    assert lag(it, 100, 11) is None
    assert lag(it, 100, 11, OTHER) == MasterLag(Offset(900), 800, 0)


def test_a_master_that_went_back() -> None:
    it = Sightings(5)
    note(it, 500, 100, 10)
    note(it, 200, 100, 20)
    assert lag(it, 100, 20) == MasterLag(Offset(200), 100, 0)


def test_what_is_remembered_is_bounded_and_stays_exact_enough() -> None:
    it = Sightings(5)
    count = 10 * MAX_MARKS
    for number in range(count):
        note(it, 100 + number, 99, number)
    assert len(it._marks) <= MAX_MARKS
    assert lag(it, 99, count) == MasterLag(Offset(99 + count), count, count)
    half = lag(it, 99 + count // 2, count)
    assert half is not None
    assert abs(half.seconds - count / 2) < count / 500
