"""A file that appears whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from repltap.errors import StoreError
from repltap.store.newfile import NewFile


def names(path: Path) -> list[str]:
    return sorted(p.name for p in path.iterdir())


def test_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "dump.rdb"
    target.write_bytes(b"older")
    with NewFile(target) as new:
        new.write(b"RED")
        new.write(memoryview(b"IS"))
        assert (target.read_bytes(), new.size) == (b"older", 5)
        new.publish()
    assert target.read_bytes() == b"REDIS"
    assert names(tmp_path) == ["dump.rdb"]


def test_nothing_is_left_of_a_failure(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), NewFile(tmp_path / "dump.rdb") as new:
        new.write(b"RED")
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_no_such_directory(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"dump\.rdb: can't be written: No such file") as caught:
        NewFile(tmp_path / "absent" / "dump.rdb")
    assert caught.value.exit_code == 4


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with NewFile(tmp_path / "dump.rdb") as new:
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(StoreError, match="can't be written"):
            new.write(b"REDIS")
    assert names(tmp_path) == []


def test_what_one_that_was_killed_left_is_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found in review: in a container the next process has the same id, and failed for ever."""
    killed = NewFile(tmp_path / "dump.rdb")
    os.close(killed._fd)
    with NewFile(tmp_path / "dump.rdb") as new:
        new.write(b"REDIS")
        new.publish()
    assert "dump.rdb" in names(tmp_path)


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """Found by a new user: /dev/stdout was a file afterwards."""
    (tmp_path / "link").symlink_to("/dev/null")
    for target in (Path("/dev/null"), tmp_path / "link", tmp_path, Path("-")):
        with pytest.raises(StoreError, match="is no file to be replaced"):
            NewFile(target)
    assert Path("/dev/null").is_char_device()


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "dump.rdb")
    with NewFile(tmp_path / "link") as new:
        new.write(b"REDIS")
        new.publish()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "dump.rdb").read_bytes() == b"REDIS"
