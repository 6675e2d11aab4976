"""Who left a snapshot, for how long it is held back, and what shows that it could load it."""

from repltap.net.setbacks import RETRY_SECONDS
from repltap.net.spurned import Spurned
from repltap.position import Offset, Position, ReplId

HERE = Position(ReplId("a" * 40), Offset(1))
THERE = Position(ReplId("a" * 40), Offset(2))


def made() -> Spurned:
    return Spurned(lambda: 0.0, lambda: None)


def test_held_back_longer_each_time_but_not_by_resets() -> None:
    it = made()
    assert not it.is_held("a", None)
    assert [it.left("a", None, reset=False) for _ in RETRY_SECONDS] == list(RETRY_SECONDS)
    assert [it.left("b", None, reset=True) for _ in RETRY_SECONDS] == [1.0, 5.0, 5.0, 5.0]
    assert it.is_held("a", None)
    assert it.is_held("b", None)


def test_who_asks_for_the_same_again_has_loaded_nothing() -> None:
    it = made()
    it.left("a", HERE, reset=False)
    assert it.is_held("a", HERE)
    assert it.is_held("a", None)
    assert not it.is_held("a", THERE)
    assert not it.is_held("a", HERE), "it is over"
    assert it.left("a", THERE, reset=False) == RETRY_SECONDS[0]


def test_who_had_nothing_and_now_has_a_place_has_loaded_it() -> None:
    it = made()
    it.left("a", None, reset=False)
    assert not it.is_held("a", HERE)


def test_an_ack_ends_it() -> None:
    it = made()
    it.left("a", None, reset=False)
    it.loaded("a")
    assert not it.is_held("a", None)


def test_names_are_forgotten_in_the_end() -> None:
    it = made()
    for number in range(1000):
        it.left(str(number), HERE, reset=False)
    assert not it.is_held("0", HERE)
    assert it.is_held("999", HERE)
    assert len(it._setbacks._setbacks) <= 64
