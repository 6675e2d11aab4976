"""Whom to believe when sentinels disagree."""

from __future__ import annotations

from repltap.protocol.sentinel import Address, Known, MasterTold
from repltap.protocol.sentinel_view import Choice, SentinelView

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
    assert view().choose() is None
    assert view((A, None, None)).choose() is None


def test_all_agree() -> None:
    assert view((A, OLD, 3), (B, OLD, 3)).choose() == Choice(OLD, 3, (A, B))


def test_the_newest_epoch_wins_whoever_says_so() -> None:
    assert view((A, OLD, 3), (B, OLD, 3), (C, NEW, 4)).choose() == Choice(NEW, 4, (C,))


def test_of_one_epoch_the_majority_wins() -> None:
    assert view((A, OLD, 0), (B, NEW, 0), (C, NEW, 0)).choose() == Choice(NEW, 0, (B, C))


def test_a_sentinel_that_was_cut_off_does_not_lead_back() -> None:
    it = view((A, NEW, 4), (B, NEW, 4), (C, OLD, 3))
    choice = it.choose()
    assert choice is not None
    it.followed(choice)
    it.lost(A)
    it.lost(B)
    assert it.choose() is None
    it.heard(A, told(A, NEW, 4))
    assert it.choose() == Choice(NEW, 4, (A,))


def test_sentinels_that_were_set_up_anew_are_believed_when_most_agree() -> None:
    it = view((A, NEW, 4), (B, NEW, 4), (C, NEW, 4))
    it.followed(Choice(NEW, 4, (A, B, C)))
    for sentinel in (A, B):
        it.heard(sentinel, told(sentinel, OLD, 0))
        it.lost(C)
    assert it.choose() == Choice(OLD, 0, (A, B))
    it.lost(B)
    assert it.choose() is None


def test_one_sentinel_under_two_addresses_is_one_voice() -> None:
    it = view((A, OLD, 0), (B, NEW, 0), (C, NEW, 0))
    for name in ("localhost", "sentinel.example"):
        it.heard((name, 26379), told(A, OLD, 0))
    assert it.choose() == Choice(NEW, 0, (B, C))


def test_epochs_that_may_not_be_asked_for() -> None:
    assert view((A, OLD, None), (B, NEW, None), (C, NEW, None)).choose() == Choice(NEW, -1, (B, C))
    assert view((A, OLD, 0), (B, NEW, None)).choose() == Choice(OLD, 0, (A,))
