"""The limit of open files is raised as far as the clients need, or fewer clients are served."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from repltap.files import FILES_A_CLIENT, RESERVED_FILES, reserve_files


class FakeLimit:
    """Stands in for the process's own, which can't be raised again once it is lowered."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> None:
        self.now = (soft, hard)
        monkeypatch.setattr(resource, "getrlimit", lambda _: self.now)
        monkeypatch.setattr(resource, "setrlimit", self._set)

    def _set(self, _: int, limit: tuple[int, int]) -> None:
        assert limit[0] <= limit[1]
        self.now = limit


@pytest.fixture(autouse=True)
def _untouched() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


def test_a_limit_that_is_high_enough_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = FakeLimit(monkeypatch, 100_000, 100_000)
    assert reserve_files(1024) == 1024
    assert limit.now == (100_000, 100_000)
    monkeypatch.undo()


def test_the_usual_soft_limit_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = FakeLimit(monkeypatch, 1024, 524_288)
    assert reserve_files(1024) == 1024
    assert limit.now == (FILES_A_CLIENT * 1024 + RESERVED_FILES, 524_288)
    monkeypatch.undo()


def test_a_low_hard_limit_means_fewer_clients(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limit = FakeLimit(monkeypatch, 256, 1024)
    assert reserve_files(1024) == (1024 - RESERVED_FILES) // FILES_A_CLIENT
    assert limit.now == (1024, 1024)
    assert "no more than 448 clients" in caplog.text
    monkeypatch.undo()


def test_somebody_can_always_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeLimit(monkeypatch, 100, 100)
    assert reserve_files(1024) == 1
    monkeypatch.undo()
