"""What failed is left alone, longer each time, unless things have changed."""

from __future__ import annotations

from repltap.net.setbacks import RETRY_SECONDS, Setbacks


class World:
    """A clock, and circumstances."""

    def __init__(self) -> None:
        self.now = 100.0
        self.generation = 1
        self.setbacks = Setbacks(lambda: self.now, lambda: self.generation)


def test_longer_each_time() -> None:
    it = World()
    assert not it.setbacks.running("what")
    waits = []
    for _ in range(6):
        waits.append(it.setbacks.add("what"))
        it.now += waits[-1] - 0.001
        assert it.setbacks.running("what")
        it.now += 0.002
        assert not it.setbacks.running("what")
    assert tuple(waits) == (*RETRY_SECONDS, RETRY_SECONDS[-1], RETRY_SECONDS[-1])


def test_no_wait_is_longer_than_the_limit() -> None:
    it = World()
    assert [it.setbacks.add("what", 5.0) for _ in range(4)] == [1.0, 5.0, 5.0, 5.0]
    assert it.setbacks.add("what") == 30.0


def test_one_thing_does_not_hold_up_another() -> None:
    it = World()
    it.setbacks.add("what")
    assert not it.setbacks.running("else")


def test_success_begins_anew() -> None:
    it = World()
    it.setbacks.add("what")
    it.setbacks.add("what")
    it.setbacks.clear("what")
    assert not it.setbacks.running("what")
    assert it.setbacks.add("what") == RETRY_SECONDS[0]
    it.setbacks.clear("else")


def test_other_circumstances_begin_anew() -> None:
    it = World()
    it.setbacks.add("what")
    it.setbacks.add("what")
    it.generation += 1
    assert not it.setbacks.running("what")
    assert it.setbacks.add("what") == RETRY_SECONDS[0]


def test_there_is_an_end_to_what_is_remembered() -> None:
    it = World()
    for number in range(1000):
        it.setbacks.add(number)
    assert len(it.setbacks._setbacks) <= 64
    assert it.setbacks.running(999)
