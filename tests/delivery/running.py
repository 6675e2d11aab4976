"""Stores with much in them, sinks that fail, and workers that run until something holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from repltap.delivery.place import Phase, Place
from repltap.errors import SinkError, SinkErrorKind
from repltap.store.checkpoints import Checkpoint, Checkpoints
from tests.delivery.stored import Stored, sets
from tests.delivery.targets import PlaceSink, PlainSink, StateSink, TestBell, Worker
from tests.stored import OTHER, REPLID, START, command

KINDS = [PlainSink, StateSink, PlaceSink]
FIRST = Place(phase=Phase.WANTED, history=1, replid=REPLID, offset=START)
AWAY = SinkError("the target is away", kind=SinkErrorKind.AWAY)


def begin_in_the_first(path: Path) -> None:
    """Let the sink have been in the first history before there was another."""
    saved = Checkpoint(sink="test", place=FIRST.as_dict(), state={}, saved_at=0.0)
    Checkpoints(path / "checkpoints").save(saved)


def eventful(path: Path) -> list[str]:
    """A store with everything in it; what it has to deliver."""
    stored = Stored(path).begin(sets(1, 2))
    stored.append(command(b"MULTI") + sets(3, 4) + command(b"EXEC"))
    stored.fail_over(OTHER).append(command(b"SELECT", b"2") + sets(5))
    stored.begin(sets(6), replid=OTHER[::-1].replace("f", "e"), offset=50, keys=(b"x", b"y"))
    stored.append(sets(7))
    stored.close()
    begin_in_the_first(path)
    return [
        *("snapshot_begin", "key one", "key two", "key three", "key four", "snapshot_end"),
        *("SET k:1", "SET k:2", "SET k:3", "SET k:4"),
        *("history failover", "SET k:5", "history full_resync"),
        *("snapshot_begin", "key x", "key y", "snapshot_end"),
        *("SET k:6", "SET k:7"),
    ]


class FailingOnce:
    """Raises at the n-th step of a kind, once."""

    def __init__(self, what: str, error: BaseException, at: int = 1) -> None:
        self.what, self.error, self.left = what, error, at

    def __call__(self, what: str) -> None:
        if what == self.what:
            self.left -= 1
            if self.left == 0:
                raise self.error


def run_until(worker: Worker, done: Callable[[], bool]) -> None:
    """Run it until a condition holds, at most a thousand waits long."""
    waits = 0

    def waited(bell: TestBell) -> None:
        nonlocal waits
        waits += 1
        assert waits < 1000, "waited in vain"
        bell.stopping = done()

    worker.bell.waited = waited
    worker.runner.run()


def reset(path: Path, place: Place | None = None) -> None:
    """What `repltap sink reset` leaves."""
    where = None if place is None else place.as_dict()
    made = Checkpoint(sink="test", place=where, state={}, saved_at=0.0, reset="9f2c")
    Checkpoints(path / "checkpoints").save(made)
