"""Whom to believe when sentinels disagree."""

from __future__ import annotations

from repltap.protocol.sentinel import Address, Known, MasterTold
from repltap.protocol.sentinel_view import OLDER_SECONDS, Choice, SentinelView

OLD, NEW = ("10.0.0.1", 6379), ("10.0.0.2", 6379)
A, B, C = ("s1", 26379), ("s2", 26379), ("s3", 26379)
IDS = {A: "a" * 40, B: "b" * 40, C: "c" * 40}


def told(sentinel: Address, master: Address | None, epoch: int | None) -> MasterTold:
    """An answer of a sentinel that knows the two others."""
    others = tuple(Known(IDS[other], other) for other in (A, B, C) if other != sentinel)
    return MasterTold(IDS[sentinel], master, epoch, others)


def view(*answers: tuple[Address, Address | None, int | None]) -> SentinelView:
    made = SentinelView()
    for sentinel, master, epoch in answers:
        made.heard(sentinel, told(sentinel, master, epoch))
    return made


def test_nobody_knows() -> None:
    assert view().choose(0) is None
    assert view((A, None, None)).choose(0) is None


def test_all_agree() -> None:
    assert view((A, OLD, 3), (B, OLD, 3)).choose(0) == Choice(OLD, 3, (A, B))


def test_the_newest_epoch_wins_whoever_says_so() -> None:
    assert view((A, OLD, 3), (B, OLD, 3), (C, NEW, 4)).choose(0) == Choice(NEW, 4, (C,))


def test_of_one_epoch_the_majority_wins() -> None:
    assert view((A, OLD, 0), (B, NEW, 0), (C, NEW, 0)).choose(0) == Choice(NEW, 0, (B, C))


def test_a_sentinel_that_was_cut_off_does_not_lead_back() -> None:
    it = view((A, NEW, 4), (B, NEW, 4), (C, OLD, 3))
    choice = it.choose(0)
    assert choice is not None
    it.followed(choice)
    it.lost(A)
    it.lost(B)
    assert it.choose(0) is None
    it.heard(A, told(A, NEW, 4))
    assert it.choose(0) == Choice(NEW, 4, (A,))


def test_sentinels_that_were_set_up_anew_are_believed_when_most_agree() -> None:
    it = view((A, NEW, 4), (B, NEW, 4), (C, NEW, 4))
    it.followed(Choice(NEW, 4, (A, B, C)))
    for sentinel in (A, B):
        it.heard(sentinel, told(sentinel, OLD, 0))
        it.lost(C)
    assert it.choose(100) is None
    assert it.choose(100 + OLDER_SECONDS - 1) is None
    assert it.choose(100 + OLDER_SECONDS) == Choice(OLD, 0, (A, B))
    it.lost(B)
    assert it.choose(200) is None
    it.heard(B, told(B, OLD, 0))
    assert it.choose(300) is None  # it begins anew
    assert it.choose(300 + OLDER_SECONDS) == Choice(OLD, 0, (A, B))


def test_who_has_led_a_failover_and_is_lost_does_not_lead_back() -> None:
    """Most had not heard of it yet: the relay went back to the master of before."""
    it = view((A, NEW, 5), (B, OLD, 4), (C, OLD, 4))
    choice = it.choose(0)
    assert choice == Choice(NEW, 5, (A,))
    it.followed(choice)
    it.lost(A)
    assert it.choose(0.1) is None
    it.heard(B, told(B, NEW, 5))  # its hello
    assert it.choose(2) == Choice(NEW, 5, (B,))
    it.lost(B)
    it.heard(B, told(B, OLD, 4))
    assert it.choose(2 + OLDER_SECONDS) is None  # not the same ten seconds


def test_one_sentinel_under_two_addresses_is_one_voice() -> None:
    it = view((A, OLD, 0), (B, NEW, 0), (C, NEW, 0))
    for name in ("localhost", "sentinel.example"):
        it.heard((name, 26379), told(A, OLD, 0))
    assert it.choose(0) == Choice(NEW, 0, (B, C))


def test_epochs_that_may_not_be_asked_for() -> None:
    assert view((A, OLD, None), (B, NEW, None), (C, NEW, None)).choose(0) == Choice(NEW, -1, (B, C))
    assert view((A, OLD, 0), (B, NEW, None)).choose(0) == Choice(OLD, 0, (A,))
