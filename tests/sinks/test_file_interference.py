"""What somebody else does to the files and the directory of a file sink."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from repltap.sink import SinkError, SinkErrorKind
from sinks.file import FileSink
from tests.sinks.driver import Driver, StubContext
from tests.sinks.files import Life, lines, settings
from tests.sinks.records import document, every_kind, flat


def test_a_file_that_is_moved_away_ends_there(tmp_path: Path) -> None:
    """As logrotate does it: what was written goes with it, what follows is in another file."""
    life = Life(tmp_path)
    life.write()
    life.commit()
    life.write()
    (tmp_path / "audit.log").rename(tmp_path / "audit.log.1")
    life.write()
    life.commit()
    life.write()
    life.commit()
    life.sink.idle()
    assert life.names() == ["audit.log", "audit.log.1"]
    moved = (tmp_path / "audit.log.1").read_bytes() + (tmp_path / "audit.log").read_bytes()
    assert moved == StubContext().json_lines(life.records)


def test_a_file_that_is_removed_loses_no_more_than_it_held(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    life = Life(tmp_path)
    life.write()
    life.commit()
    life.write()
    (tmp_path / "audit.log").unlink()
    with pytest.raises(SinkError, match="has been removed"):
        life.commit()
    life.sink.close()
    life.open()
    assert "audit.log is gone" in caplog.text
    life.write()
    life.commit()
    life.sink.idle()
    assert lines(tmp_path) == [document(life.records[1])]


@pytest.mark.parametrize("changes", [{}, {"rotate_bytes": 1 << 20}, {"rotate_bytes": 600}])
def test_a_file_that_somebody_cuts_stops_it(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Found by cutting files under load: grown again they were gone on with, damaged."""
    life = Life(tmp_path, **changes)
    life.write()
    life.commit()
    life.sink.idle()
    (path,) = tmp_path.iterdir()
    os.truncate(path, 3)
    with pytest.raises(SinkError, match="somebody else has changed it"):
        for _ in range(5):
            life.write(10)
        life.commit()
    life.sink.close()
    assert path.stat().st_size == 3
    with pytest.raises(SinkError, match="were committed") as raised:
        life.open()
    assert not raised.value.passes


def test_two_sinks_do_not_write_one_file(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.write()
    with pytest.raises(SinkError, match="another process writes it"):
        Life(tmp_path)
    life.commit()
    life.sink.idle()
    other = FileSink(settings(tmp_path / "audit.log"))
    with pytest.raises(SinkError, match="another process writes it"):
        other.open(StubContext(life.checkpoint.place, life.checkpoint.state or {}))
    life.sink.close()


def test_a_directory_in_place_of_the_file(tmp_path: Path) -> None:
    sink = FileSink(settings(tmp_path))
    with pytest.raises(SinkError, match="is a directory") as raised:
        sink.open(StubContext())
    assert raised.value.kind is SinkErrorKind.REFUSED
    assert not raised.value.passes


def test_a_directory_that_is_missing_may_be_mounted_later(tmp_path: Path) -> None:
    sink = FileSink(settings(tmp_path / "later" / "audit.log"))
    with pytest.raises(SinkError) as raised:
        sink.open(StubContext())
    assert raised.value.kind is SinkErrorKind.AWAY
    (tmp_path / "later").mkdir()
    Driver(sink, every_kind()).run()
    assert lines(tmp_path / "later") == [document(record) for record in flat(every_kind())]
