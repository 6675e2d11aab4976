"""What the log hears of errors."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from repltap.delivery.trouble import Trouble, as_failure
from repltap.errors import CorruptStoreError, DiskFullError, SinkError, SinkErrorKind

AWAY = SinkError("away")


class World:
    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        self.now = 1000.0
        self.trouble = Trouble(logging.getLogger("repltap.sink.x"), lambda: self.now)
        self._caplog = caplog

    def told(self) -> list[tuple[str, str]]:
        """Give what was logged since the last call."""
        found = [(record.levelname, record.getMessage()) for record in self._caplog.records]
        self._caplog.clear()
        return found


@pytest.fixture
def it(caplog: pytest.LogCaptureFixture) -> World:
    return World(caplog)


def test_the_same_error_is_told_each_minute_with_a_count(it: World) -> None:
    for _ in range(3):
        it.trouble.tell(AWAY)
        it.now += 20
    assert it.told() == [("WARNING", "away")]
    it.trouble.tell(AWAY)
    assert it.told() == [("WARNING", "away (2 more times since it was told last)")]
    it.now += 61
    it.trouble.tell(AWAY)
    assert it.told() == [("WARNING", "away")]


def test_another_error_is_told_at_once(it: World) -> None:
    for _ in range(2):
        it.trouble.tell(AWAY)
        it.trouble.tell(AWAY, "closing: ")
        it.trouble.tell(SinkError("no", hint="look", passes=False))
    assert it.told() == [("WARNING", "away"), ("WARNING", "closing: away"), ("ERROR", "no (look)")]


def test_after_a_commit_it_is_a_new_one(it: World) -> None:
    it.trouble.tell(AWAY)
    it.trouble.over()
    it.trouble.tell(AWAY)
    it.trouble.tell(AWAY)
    assert it.told() == [("WARNING", "away")] * 2
    it.trouble.over()
    it.trouble.over()
    assert it.told() == [("INFO", "delivers again")]


def test_a_target_that_opens_and_fails_in_turn(it: World) -> None:
    for _ in range(3):
        it.trouble.tell(AWAY)
        it.trouble.opened_again()
    assert it.told() == [("WARNING", "away"), ("INFO", "the target is open again")]
    it.now += 61
    it.trouble.tell(AWAY)
    it.trouble.opened_again()
    assert it.told() == [
        ("WARNING", "away (2 more times since it was told last)"),
        ("INFO", "the target is open again"),
    ]
    it.trouble.over()
    assert it.told() == []


def test_errors_that_are_never_the_same_take_no_memory(it: World) -> None:
    for number in range(1000):
        it.trouble.tell(SinkError(f"request {number} failed"))
    assert len(it.told()) == 1000
    assert len(it.trouble._told) <= 16


def test_what_is_wrong_with_the_store(tmp_path: Path) -> None:
    full = as_failure(DiskFullError("no room", path=tmp_path))
    assert (full.kind, full.passes) == (SinkErrorKind.FULL, True)
    damaged = as_failure(CorruptStoreError("damaged", path=tmp_path))
    assert (damaged.kind, damaged.passes) == (SinkErrorKind.SOURCE, False)
    assert as_failure(AWAY) is AWAY
