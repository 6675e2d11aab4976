from pathlib import Path

import pytest

from repltap.errors import ConfigError, CorruptStoreError
from repltap.position import Offset, ReplId
from repltap.store.checkpoints import Checkpoint, Checkpoints


def checkpoint(sink: str, offset: int = 77, tx: int | None = None) -> Checkpoint:
    return Checkpoint(
        sink=sink,
        history_number=3,
        replid=ReplId("ab" * 20),
        offset=Offset(offset),
        db=2,
        tx=tx,
    )


def test_save_load_all_remove(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.load("a") is None
    checkpoints.save(checkpoint("b"))
    checkpoints.save(checkpoint("a", 1))
    checkpoints.save(checkpoint("a", 2**62, tx=5))
    again = Checkpoints(tmp_path / "checkpoints")
    assert again.load("a") == checkpoint("a", 2**62, tx=5)
    assert again.all() == (checkpoint("a", 2**62, tx=5), checkpoint("b"))
    again.remove("a")
    again.remove("a")
    assert again.all() == (checkpoint("b"),)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a.json", "-a", "a" * 65, "a\n"])
def test_names_that_are_no_file_names(tmp_path: Path, name: str) -> None:
    checkpoints = Checkpoints(tmp_path)
    for call in (checkpoints.load, checkpoints.remove, lambda n: checkpoints.save(checkpoint(n))):
        with pytest.raises(ConfigError):
            call(name)


def test_damage_is_refused(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(checkpoint("a"))
    path = tmp_path / "a.json"
    path.write_bytes(path.read_bytes().replace(b"77", b"78"))
    with pytest.raises(CorruptStoreError, match="checksum"):
        checkpoints.load("a")
