"""What holds for the tests of delivery: they leave no store open."""

import os
from collections.abc import Iterator

import pytest

from tests.delivery.stored import close_all


@pytest.fixture(autouse=True)
def _stores_are_closed() -> Iterator[None]:
    yield
    close_all()


@pytest.fixture
def without_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that cut no power: the disk is what would take their time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(os, "fdatasync", lambda _: None)
