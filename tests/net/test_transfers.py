"""How many snapshots are sent at once, in which order, and how fast: on a clock of the test."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from repltap.net.transfers import Pace, Throttle, TransferSlots


@dataclass(frozen=True)
class Peer:
    id: int


class Slots:
    """Slots, and how often somebody was told that one is free."""

    def __init__(self, limit: int) -> None:
        self.freed = 0
        self.slots: TransferSlots[Peer] = TransferSlots(limit, self._free)
        self.peers = [Peer(i) for i in range(10)]

    def _free(self) -> None:
        self.freed += 1


def test_first_come_first_served() -> None:
    it = Slots(2)
    got = [it.slots.admit(peer, since=float(peer.id)) for peer in it.peers[:5]]
    assert got == [True, True, False, False, False]
    assert it.slots.places() == {2: 1, 3: 2, 4: 3}
    assert it.slots.next() is None
    it.slots.leave(it.peers[0])
    assert it.freed == 1
    assert it.slots.next() is it.peers[2]
    # Who comes now has others before it, although a slot is free.
    assert not it.slots.admit(it.peers[5], since=5.0)
    assert it.slots.admit(it.peers[2], since=2.0)
    assert it.slots.running == 2
    assert it.slots.places() == {3: 1, 4: 2, 5: 3}


def test_the_place_is_that_of_the_asking() -> None:
    """Who could not be served for a while comes back to where it was."""
    it = Slots(1)
    assert it.slots.admit(it.peers[0], since=0.0)
    assert not it.slots.admit(it.peers[2], since=2.0)
    assert not it.slots.admit(it.peers[1], since=1.0)
    assert it.slots.places() == {1: 1, 2: 2}
    it.slots.withdraw(it.peers[1])
    assert it.slots.places() == {2: 1}
    assert not it.slots.admit(it.peers[1], since=1.0)
    assert it.slots.places() == {1: 1, 2: 2}
    it.slots.leave(it.peers[0])
    assert not it.slots.admit(it.peers[2], since=2.0)
    assert it.slots.admit(it.peers[1], since=1.0)


def test_who_can_not_be_served_now_holds_up_nobody() -> None:
    it = Slots(1)
    assert it.slots.admit(it.peers[0], since=0.0)
    for number in (1, 2):
        assert not it.slots.admit(it.peers[number], since=float(number))
    it.slots.leave(it.peers[0])
    it.slots.withdraw(it.peers[1])
    assert it.slots.next() is it.peers[2]
    assert it.slots.admit(it.peers[2], since=2.0)


def test_leaving_the_queue_frees_nothing() -> None:
    it = Slots(1)
    assert it.slots.admit(it.peers[0], since=0.0)
    assert not it.slots.admit(it.peers[1], since=1.0)
    it.slots.leave(it.peers[1])
    it.slots.leave(it.peers[1])
    it.slots.leave(it.peers[2])
    assert (it.freed, it.slots.running, it.slots.places()) == (0, 1, {})
    it.slots.leave(it.peers[0])
    assert (it.freed, it.slots.running) == (0, 0)  # nobody waits for it


def test_slots_against_a_model() -> None:
    """Never more than the limit, and no free slot while somebody in the queue could have it."""
    rng = random.Random(1)
    it = Slots(3)
    running: set[Peer] = set()
    asked: dict[Peer, float] = {}
    for now in range(3000):
        peer = rng.choice(it.peers)
        if peer in running or rng.random() < 0.2:
            it.slots.leave(peer)
            running.discard(peer)
            asked.pop(peer, None)
        else:
            asked.setdefault(peer, float(now))
            if it.slots.admit(peer, asked[peer]):
                running.add(peer)
                assert all(asked[peer] <= asked[p] for p in asked if p not in running)
                del asked[peer]
        while (following := it.slots.next()) is not None:
            assert following is min(asked, key=lambda p: asked[p])
            assert it.slots.admit(following, asked.pop(following))
            running.add(following)
        assert it.slots.running == len(running) <= 3
        assert set(it.slots.places()) == {p.id for p in asked}


class Clock:
    """Time that passes when it is told to; one timer at most."""

    def __init__(self) -> None:
        self.now = 50.0
        self.lateness = 0.0
        self.calls = 0
        self._timers: list[_Timer] = []

    def call_later(self, delay: float, callback: Callable[[], None]) -> _Timer:
        assert not [t for t in self._timers if not t.cancelled], "one timer for all"
        timer = _Timer(self.now + delay + self.lateness, callback)
        self._timers.append(timer)
        return timer

    @property
    def idle(self) -> bool:
        return not [t for t in self._timers if not t.cancelled]

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            due = [t for t in self._timers if not t.cancelled and t.at <= end]
            if not due:
                break
            self._timers.remove(due[0])
            self.now = max(self.now, due[0].at)
            self.calls += 1
            due[0].callback()
        self.now = end


class _Timer:
    def __init__(self, at: float, callback: Callable[[], None]) -> None:
        self.at = at
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Transfer:
    """Sends as fast as it is let; `most` is what its socket takes at a time."""

    def __init__(self, throttle: Throttle, *, most: int = 1 << 20) -> None:
        self.sent = 0
        self.steps: list[int] = []
        self.most = most
        pace = throttle.open(self.pump)
        assert pace is not None
        self.pace: Pace = pace
        self.pump()

    def pump(self) -> None:
        while size := self.pace.take(1 << 20):
            done = min(size, self.most)
            self.pace.give_back(size - done)
            self.sent += done
            self.steps.append(done)
            if done < size:
                return  # its socket is full


def made(each: int | None, total: int | None) -> tuple[Throttle, Clock]:
    clock = Clock()
    return Throttle(each, total, lambda: clock.now, clock.call_later), clock


def test_no_limit_no_pace() -> None:
    throttle, clock = made(None, None)
    assert throttle.open(lambda: None) is None
    assert clock.idle


@pytest.mark.parametrize("rate", [10_000, 1_000_000, 123_456_789])
@pytest.mark.parametrize("lateness", [0.0, 0.013, 0.1])
def test_one_transfer_at_its_rate(rate: int, lateness: float) -> None:
    throttle, clock = made(rate, None)
    clock.lateness = lateness
    transfer = Transfer(throttle)
    assert transfer.sent == 0
    clock.run(10.0)
    assert transfer.sent == pytest.approx(10 * rate, rel=0.03)
    assert transfer.sent <= 10 * rate
    assert max(transfer.steps) <= rate * 0.25


def test_it_is_smooth_and_does_not_spin() -> None:
    throttle, clock = made(1_000_000, None)
    transfer = Transfer(throttle)
    clock.run(1.0)
    assert max(transfer.steps) <= 100_000  # ten times a second or finer
    assert clock.calls <= 21


@pytest.mark.parametrize("count", [1, 3, 16, 100])
def test_the_total_is_shared_evenly(count: int) -> None:
    throttle, clock = made(None, 1_000_000)
    transfers = [Transfer(throttle) for _ in range(count)]
    clock.run(20.0)
    assert sum(t.sent for t in transfers) == pytest.approx(20_000_000, rel=0.03)
    fair = 20_000_000 / count
    assert all(t.sent == pytest.approx(fair, rel=0.03) for t in transfers)


def test_both_limits() -> None:
    throttle, clock = made(100_000, 1_000_000)
    few = [Transfer(throttle) for _ in range(5)]
    clock.run(10.0)
    assert all(t.sent == pytest.approx(1_000_000, rel=0.03) for t in few)
    many = few + [Transfer(throttle) for _ in range(15)]
    before = [t.sent for t in many]
    clock.run(10.0)
    got = [t.sent - b for t, b in zip(many, before, strict=True)]
    assert sum(got) == pytest.approx(10_000_000, rel=0.03)
    assert all(size == pytest.approx(500_000, rel=0.05) for size in got)


def test_what_one_does_not_use_is_for_the_others() -> None:
    throttle, clock = made(None, 1_000_000)
    fast = Transfer(throttle)
    slow = Transfer(throttle, most=100)  # its socket takes no more, and is never looked at again
    clock.run(10.0)
    assert slow.sent == 100
    assert fast.sent == pytest.approx(10_000_000, rel=0.03)
    slow.pace.close()
    clock.run(10.0)
    assert fast.sent == pytest.approx(20_000_000, rel=0.03)


def test_an_idle_hour_is_not_paid_out_at_once() -> None:
    throttle, clock = made(2_000_000, 1_000_000)
    clock.run(3600.0)
    transfer = Transfer(throttle)
    clock.run(0.1)
    assert transfer.sent <= 250_000 + 100_000


def test_nothing_runs_when_nobody_waits() -> None:
    throttle, clock = made(None, 1_000_000)
    transfers = [Transfer(throttle) for _ in range(3)]
    clock.run(0.2)
    for transfer in transfers:
        assert not clock.idle
        transfer.pace.close()
        transfer.pace.close()
    assert clock.idle


def test_one_that_is_woken_may_end_another() -> None:
    throttle, clock = made(None, 1_000_000)
    first, second = Transfer(throttle), Transfer(throttle)
    first.pace.wake = second.pace.close
    clock.run(1.0)
    assert second.pace.closed
