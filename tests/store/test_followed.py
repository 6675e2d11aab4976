"""The file that says whom to follow after a restart."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from repltap.errors import CorruptStoreError, DiskFullError
from repltap.store.followed import Followed, load_followed, save_followed
from repltap.store.metadata import publish_json

KEPT = Followed("10.0.0.1:6379", "10.0.0.2", 6380, 1.5)


def test_it_comes_back(tmp_path: Path) -> None:
    assert load_followed(tmp_path) is None
    save_followed(tmp_path, KEPT)
    assert load_followed(tmp_path) == KEPT
    save_followed(tmp_path, None)
    assert load_followed(tmp_path) is None
    save_followed(tmp_path, None)
    assert list(tmp_path.iterdir()) == []


def test_damage_is_told_with_a_way_out(tmp_path: Path) -> None:
    save_followed(tmp_path, KEPT)
    path = tmp_path / "followed.json"
    path.write_bytes(path.read_bytes().replace(b"6380", b"6381"))
    with pytest.raises(CorruptStoreError, match="--upstream"):
        load_followed(tmp_path)


@pytest.mark.parametrize("change", [{"port": 0}, {"port": "6380"}, {"host": None}, {"at": "x"}])
def test_fields_that_are_wrong(tmp_path: Path, change: dict[str, object]) -> None:
    fields = {"configured": "a:1", "host": "b", "port": 2, "at": 1.0, **change}
    publish_json(tmp_path / "followed.json", fields)
    with pytest.raises(CorruptStoreError):
        load_followed(tmp_path)


def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    save_followed(tmp_path, KEPT)
    with monkeypatch.context() as patched, pytest.raises(DiskFullError):
        patched.setattr("os.fsync", full)
        save_followed(tmp_path, Followed("a:1", "b", 2, 3.0))
    assert load_followed(tmp_path) == KEPT
