"""The file sink opened again: what it goes on with, what it takes back, what it leaves alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from repltap.sink import SinkError
from tests.sinks.driver import Checkpoint
from tests.sinks.files import NAME, Life, executed, files
from tests.sinks.records import document


def test_a_crash_before_the_checkpoint_takes_all_of_it_back(tmp_path: Path) -> None:
    life = Life(tmp_path, rotate_bytes=1)
    life.write()
    life.commit()
    before = (tmp_path / (NAME.format(1) + ".contract.new")).read_bytes()
    for _ in range(3):
        life.write()
    life.commit(keep=False)
    life.sink.close()
    life.open()
    assert life.names() == [NAME.format(1) + ".part"]
    assert (tmp_path / life.names()[0]).read_bytes() == before


@pytest.mark.parametrize("rotate_bytes", [None, 1])
def test_a_transaction_that_was_left_open_is_discarded(
    tmp_path: Path, rotate_bytes: int | None
) -> None:
    """A history can end within one; what comes after a restart must not be part of it."""
    life = Life(tmp_path, format="resp", rotate_bytes=rotate_bytes)
    life.write()
    life.sink.write(life.stream.transaction([b"SET", b"a", b"1"], [b"SET", b"b", b"1"])[:1])
    life.commit()
    life.sink.close()
    life.open()
    life.write()
    life.commit()
    life.sink.idle()
    assert executed(b"".join(path.read_bytes() for path in files(tmp_path))) == [
        (0, [b"SET", b"k", b"0"]),
        (0, [b"MULTI"]),
        (0, [b"SET", b"a", b"1"]),
        (0, [b"DISCARD"]),
        (0, [b"SET", b"k", b"0"]),
    ]


def test_files_of_an_earlier_life_are_not_touched(tmp_path: Path) -> None:
    """The checkpoint was reset: what is there stays, and numbers go on."""
    life = Life(tmp_path, rotate_bytes=1)
    for _ in range(3):
        life.write()
        life.commit()
    life.sink.idle()
    life.sink.close()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(before) == 3
    life.checkpoint = Checkpoint()
    life.open()
    life.write()
    life.commit()
    assert {path: path.read_bytes() for path in before} == before
    assert NAME.format(4) + ".contract.new" in life.names()


@pytest.mark.parametrize("rotations", [1, 2])
def test_an_older_checkpoint_doubles_nothing(tmp_path: Path, rotations: int) -> None:
    """Found by putting an older copy back: everything behind it was in the files twice.

    The file that it speaks of was finished meanwhile, and others were begun.
    """
    life = Life(tmp_path, rotate_seconds=60.0)
    life.write()
    life.commit()
    older = life.checkpoint
    for _ in range(rotations):
        life.write()
        life.commit()
        life.now += 60
        life.sink.idle()
    life.sink.close()
    newest, life.checkpoint = life.checkpoint, older
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(before) == rotations
    with pytest.raises(SinkError, match="older copy") as raised:
        life.open()
    assert not raised.value.passes
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    life.checkpoint = newest
    life.open()
    life.write()
    life.commit()
    life.sink.idle()
    life.check()


def test_an_older_checkpoint_of_the_file_in_progress_is_gone_on_with(tmp_path: Path) -> None:
    life = Life(tmp_path, rotate_bytes=1 << 20)
    life.write()
    life.commit()
    life.sink.idle()
    older, records = life.checkpoint, list(life.records)
    life.write()
    life.commit()
    life.sink.close()
    life.checkpoint, life.records = older, records
    life.open()
    life.write()
    life.commit()
    life.check()


def test_one_file_of_an_earlier_life_is_in_the_way(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.write()
    life.commit()
    life.sink.idle()
    life.sink.close()
    life.checkpoint = Checkpoint()
    with pytest.raises(SinkError, match="is there already") as raised:
        life.open()
    assert not raised.value.passes
    (tmp_path / "audit.log").rename(tmp_path / "old")
    life.open()


@pytest.mark.parametrize(
    "change",
    [{"format": "resp"}, {"compression": "zstd"}, {"rotate_bytes": None}, {"path": "other.log"}],
    ids=repr,
)
def test_other_settings_end_the_file(tmp_path: Path, change: dict[str, Any]) -> None:
    life = Life(tmp_path, rotate_bytes=10**6)
    life.write()
    life.commit()
    life.sink.idle()
    life.write()
    life.sink.close()
    if "path" in change:
        change = {"path": tmp_path / change["path"]}
    life.open(**change)
    life.write()
    life.commit()
    life.sink.idle()
    first, second = tmp_path.iterdir()
    old = first if first.name == NAME.format(1) else second
    assert [json.loads(line) for line in old.read_bytes().splitlines()] == [
        document(life.records[0])
    ]
    assert len(life.records) == 2


def test_the_directory_was_changed(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    life = Life(tmp_path / "old", rotate_bytes=10**6)
    life.write()
    life.commit()
    life.sink.close()
    life.directory = tmp_path / "new"
    life.open()
    life.write()
    life.commit()
    assert [path.name for path in (tmp_path / "old").iterdir()] == [NAME.format(1)]
    assert life.names() == [NAME.format(2) + ".contract.new"]
