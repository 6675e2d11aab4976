"""Files in their directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from repltap.sink import SinkError, SinkErrorKind
from sinks._file.counts import Counts
from sinks._file.folder import Folder
from sinks._file.names import Names
from sinks._file.output import Output

TIME = "20250131T120000Z"


def folder(path: Path, *, rotated: bool = True) -> Folder:
    names = Names.of("a.log", sink="s", compression="none", rotated=rotated)
    return Folder(path, names, Counts())


def file(path: Path, sequence: int, suffix: str = "", size: int = 1) -> Path:
    made = path / f"a-{sequence:08d}-{TIME}.log{suffix}"
    made.write_bytes(bytes(size))
    return made


def test_a_file_is_found_under_each_of_its_names(tmp_path: Path) -> None:
    made = folder(tmp_path)
    for suffix in (".part", ".s.new", ""):
        path = file(tmp_path, 1, suffix)
        assert made.find(f"a-00000001-{TIME}.log") == path
        assert made.is_final(path) == (not suffix)
        path.unlink()
    assert made.find(f"a-00000001-{TIME}.log") is None


def test_a_name_that_something_has_is_not_chosen(tmp_path: Path) -> None:
    made = folder(tmp_path)
    ts_ms = 1_738_324_800_000
    assert made.choose(0, 5, ts_ms) == (1, f"a-00000001-{TIME}.log")
    for sequence, suffix in ((1, ""), (2, ".part"), (3, ".s.new")):
        file(tmp_path, sequence, suffix)
    assert made.choose(0, 5, ts_ms)[0] == 4
    assert made.highest_sequence() == 3


def test_one_name_only(tmp_path: Path) -> None:
    made = folder(tmp_path, rotated=False)
    assert made.choose(0, 0, 0) == (1, "a.log")
    (tmp_path / "a.log.part").touch()  # somebody else's
    assert made.choose(0, 0, 0) == (1, "a.log")
    (tmp_path / "a.log").touch()
    with pytest.raises(SinkError, match="is there already"):
        made.choose(0, 0, 0)
    (tmp_path / "a.log").unlink()
    (tmp_path / "a.log").mkdir()
    with pytest.raises(SinkError, match="is a directory"):
        made.choose(0, 0, 0)


def test_nothing_is_renamed_over(tmp_path: Path) -> None:
    made = folder(tmp_path)
    path = file(tmp_path, 1, ".part")
    final = file(tmp_path, 1, size=7)
    with pytest.raises(SinkError, match="is there already") as raised:
        made.move(path, final.name)
    assert not raised.value.passes
    assert final.stat().st_size == 7
    assert made.move(final, final.name) == final


def test_names_are_made_durable_when_they_have_changed(tmp_path: Path) -> None:
    counts = Counts()
    made = Folder(tmp_path, folder(tmp_path).names, counts)
    made.sync()
    assert counts.syncs == 0
    made.move(file(tmp_path, 1, ".part"), "b")
    made.sync()
    made.sync()
    assert counts.syncs == 1


def test_only_its_own_uncommitted_files_are_deleted(tmp_path: Path) -> None:
    made = folder(tmp_path)
    kept = [file(tmp_path, 1), file(tmp_path, 2, ".part"), file(tmp_path, 3, ".other.new")]
    kept += [tmp_path / "notes.s.new", file(tmp_path, 4, ".s.new")]
    kept[3].touch()
    file(tmp_path, 5, ".s.new")
    made.remove_uncommitted(keep=f"a-00000004-{TIME}.log")
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_a_file_that_somebody_writes_is_not_deleted(tmp_path: Path) -> None:
    path = tmp_path / f"a-00000005-{TIME}.log.s.new"
    output = Output.create(path, compression="none", counts=Counts())
    with pytest.raises(SinkError, match="another process writes it"):
        folder(tmp_path).remove_uncommitted(keep="")
    output.close()
    assert path.exists()


@pytest.mark.parametrize(
    ("keep_files", "keep_bytes", "left"),
    [
        (None, None, [1, 2, 3, 4]),
        (2, None, [3, 4]),
        (None, 60, [2, 3, 4]),
        (None, 59, [3, 4]),
        (1, 60, [4]),
        (9, 1, [4]),  # the newest stays, however large
    ],
)
def test_the_oldest_go_first(
    tmp_path: Path, keep_files: int | None, keep_bytes: int | None, left: list[int]
) -> None:
    for sequence in (1, 2, 3, 4):
        file(tmp_path, sequence, size=10 * (5 - sequence) if sequence > 1 else 99)
    progress = [file(tmp_path, 5, ".part"), file(tmp_path, 6, ".s.new"), tmp_path / "b.log"]
    progress[2].touch()
    made = folder(tmp_path)
    made.delete_old(keep_files, keep_bytes)
    expected = [tmp_path / f"a-{sequence:08d}-{TIME}.log" for sequence in left]
    assert sorted(tmp_path.iterdir()) == sorted(expected + progress)


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SinkError) as raised:
        folder(tmp_path / "none").require()
    assert raised.value.kind is SinkErrorKind.AWAY
    (tmp_path / "file").touch()
    with pytest.raises(SinkError) as raised:
        folder(tmp_path / "file").require()
    assert raised.value.kind is SinkErrorKind.REFUSED
    if os.geteuid():
        (tmp_path / "closed").mkdir(mode=0)
        with pytest.raises(SinkError):
            folder(tmp_path / "closed").require()
