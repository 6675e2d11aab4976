"""Reading slowly, until somebody waits."""

import threading
from types import SimpleNamespace

import pytest

from repltap import pace
from repltap.pace import Pace, PaceStoppedError
from tests.servers.waiting import PATIENCE_SECONDS


class Clock:
    """Notes how long is waited, and does not wait."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waited: list[float] = []
        # Of this module alone: other threads wait for events too, such as pytest's time limit,
        # which ends the process when its wait returns.
        monkeypatch.setattr(pace, "threading", SimpleNamespace(Event=lambda: self))

    def wait(self, timeout: float) -> bool:
        self.waited.append(timeout)
        return False


def test_it_waits_as_long_as_the_rate_says(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    it = Pace(1_000_000)
    for _ in range(100):
        it.read(50_000)
    assert sum(clock.waited) == pytest.approx(5.0)
    assert it.done_bytes == 5_000_000


def test_small_steps_are_gathered_and_count_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    it = Pace(4096 * 1000)
    for _ in range(1000):
        it.read(10)
    assert sum(clock.waited) == pytest.approx(1.0, abs=0.03)
    assert min(clock.waited) >= 0.02
    assert it.done_bytes == 10_000


def test_who_waits_makes_it_hurry() -> None:
    """With a byte a second nothing would end here otherwise."""
    it = Pace(1)
    waiting = threading.Thread(target=lambda: [it.read(1 << 20) for _ in range(100)])
    waiting.start()
    it.hurry()
    waiting.join(PATIENCE_SECONDS)
    assert not waiting.is_alive()
    assert it.hurried


def test_stop_ends_the_reading() -> None:
    it = Pace(1)
    ended: list[bool] = []

    def read() -> None:
        with pytest.raises(PaceStoppedError):
            it.read(1 << 20)
        ended.append(True)

    reading = threading.Thread(target=read)
    reading.start()
    it.stop()
    reading.join(PATIENCE_SECONDS)
    assert ended
