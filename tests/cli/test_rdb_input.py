from pathlib import Path

import click
import pytest

from repltap.cli.rdb_input import make_filter, make_input
from repltap.errors import CorruptRdbError, DataDirError, NotRetainedError
from repltap.rdb.entries import End
from tests.cli.stored import FIRST, fill

NONE: tuple[()] = ()


def test_filters() -> None:
    assert make_filter(NONE, NONE, NONE) is None
    wanted = make_filter((0, 3), ("user:*", "caf\u00e9", "\udcff?"), ("hash",))
    assert wanted is not None
    assert wanted(3, b"user:1", "hash")
    assert wanted(0, "caf\u00e9".encode(), "hash")
    assert wanted(0, b"\xffx", "hash")
    assert not wanted(1, b"user:1", "hash")
    assert not wanted(0, b"users", "hash")
    assert not wanted(0, b"user:1", "set")


def test_a_stored_snapshot(tmp_path: Path) -> None:
    (snapshot,) = fill(tmp_path).snapshots.all
    for offset in (None, FIRST):
        found = make_input(None, None, offset, None, NONE, NONE, NONE, data_dir=str(tmp_path))
        assert found.path == snapshot.path
    with found.items() as items:
        assert isinstance(list(items)[-1], End)
    with pytest.raises(NotRetainedError):
        make_input(None, None, 5, None, NONE, NONE, NONE, data_dir=str(tmp_path))
    with pytest.raises(click.UsageError):
        make_input("x.rdb", None, None, None, NONE, NONE, NONE, data_dir=str(tmp_path))


def test_what_can_not_be_read(tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_bytes(b"junk")
    for path, error in (
        (tmp_path / "none", NotRetainedError),
        (tmp_path, DataDirError),
        (junk, CorruptRdbError),
    ):
        found = make_input(str(path), None, None, None, NONE, NONE, NONE)
        with pytest.raises(error, match=str(path)), found.items() as items:
            list(items)
