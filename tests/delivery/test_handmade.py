"""Checkpoints are read while others write them, and what is none holds up nobody."""

import logging
from pathlib import Path

import pytest

from repltap.delivery.handmade import StoredPlace, StoredPlaces
from repltap.position import Offset
from repltap.store.checkpoints import Checkpoint, Checkpoints
from tests.delivery.workers import save


def test_places(tmp_path: Path) -> None:
    places = StoredPlaces(tmp_path / "checkpoints")
    assert places.read() == {}
    save(tmp_path / "checkpoints", "a", 3, 70)
    save(tmp_path / "checkpoints", "b", 4, 0)
    Checkpoints(tmp_path / "checkpoints").save(
        Checkpoint(sink="reset", place=None, state={}, saved_at=5.0, reset="9f2c")
    )
    (tmp_path / "checkpoints" / "a.lock").touch()
    (tmp_path / "checkpoints" / "not a name.json").touch()
    assert places.read() == {
        "a": StoredPlace("a", 3, Offset(70), 5.0),
        "b": StoredPlace("b", 4, Offset(0), 5.0),
    }


def test_what_can_not_be_believed_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    places = StoredPlaces(tmp_path)
    save(tmp_path, "good", 1, 1)
    (tmp_path / "bad.json").write_text("{}")
    for _ in range(3):
        assert list(places.read()) == ["good"]
    (line,) = [record.getMessage() for record in caplog.records]
    assert "bad.json" in line
    assert "nothing is kept for the sink" in line


def test_a_directory_that_can_not_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    places = StoredPlaces(tmp_path / "file" / "checkpoints")
    assert places.read() == {}
    assert places.read() == {}
    assert len(caplog.records) == 1
