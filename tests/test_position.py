"""Histories: which positions they cover, and how a new replid shifts them."""

from __future__ import annotations

import pytest

from repltap.position import (
    MAX_PREDECESSORS,
    NO_REPLID,
    History,
    Offset,
    Position,
    ReplId,
    parse_replid,
)

A, B, C = (ReplId(letter * 40) for letter in "abc")


def at(replid: ReplId, offset: int) -> Position:
    return Position(replid, Offset(offset))


def test_a_replid_is_read_without_regard_to_case() -> None:
    assert parse_replid(b"AbCdEf0123" * 4) == "abcdef0123" * 4


@pytest.mark.parametrize("raw", [b"", b"?", b"a" * 39, b"a" * 41, b"g" * 40, b"0" * 40])
def test_what_is_no_replid_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not a replication id"):
        parse_replid(raw)


def test_a_new_history_has_no_second_replid() -> None:
    history = History(A)
    assert (history.replid2, history.second_offset) == (NO_REPLID, -1)
    assert history.covers(at(A, 10**12))
    assert not history.covers(at(B, 0))


def test_a_shift_keeps_the_old_replid_up_to_its_offset() -> None:
    # Redis shiftReplicationId: second_replid_offset is the offset plus one.
    history = History(A).shifted(B, Offset(100))
    assert (history.replid, history.replid2, history.second_offset) == (B, A, 101)
    assert history.covers(at(A, 100))
    assert not history.covers(at(A, 101))
    assert history.covers(at(B, 5000))


def test_a_shift_to_the_same_replid_changes_nothing() -> None:
    history = History(A).shifted(B, Offset(100))
    assert history.shifted(B, Offset(900)) is history


def test_a_replica_that_missed_two_failovers_is_still_covered() -> None:
    history = History(A).shifted(B, Offset(100)).shifted(C, Offset(200))
    assert history.covers(at(A, 100))
    assert history.covers(at(B, 200))
    assert not history.covers(at(B, 201))


def test_a_shift_back_cuts_what_the_older_replids_cover() -> None:
    history = History(A).shifted(B, Offset(100)).shifted(C, Offset(40))
    assert history.covers(at(A, 40))
    assert not history.covers(at(A, 41))


def test_predecessors_are_bounded() -> None:
    history = History(A)
    for number in range(3 * MAX_PREDECESSORS):
        history = history.shifted(ReplId(f"{number:040x}"), Offset(number))
    assert len(history.predecessors) == MAX_PREDECESSORS


def test_the_absent_second_replid_never_matches() -> None:
    assert not History(A).covers(at(NO_REPLID, 0))
