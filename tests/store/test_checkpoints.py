from dataclasses import replace
from pathlib import Path

import pytest

from repltap.errors import ConfigError, CorruptStoreError
from repltap.store.checkpoints import MAX_STATE_BYTES, Checkpoint, Checkpoints
from repltap.store.metadata import load_json, publish_json

PLACE = {"v": 1, "phase": "stream", "history": 3, "replid": "ab" * 20, "db": 2}


def checkpoint(sink: str, offset: int = 77, **state: object) -> Checkpoint:
    return Checkpoint(
        sink=sink, place={**PLACE, "offset": offset}, state=state, saved_at=1_700_000_000.5
    )


def test_save_load_all_remove(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.load("a") is None
    checkpoints.save(checkpoint("b"))
    checkpoints.save(checkpoint("a", 1))
    checkpoints.save(checkpoint("a", 2**62, length=5))
    again = Checkpoints(tmp_path / "checkpoints")
    found = again.load("a")
    assert found == checkpoint("a", 2**62, length=5)
    assert again.all() == (checkpoint("a", 2**62, length=5), checkpoint("b"))
    assert (found.history_number, found.pin, found.replid) == (3, 2**62, "ab" * 20)
    again.remove("a")
    again.remove("a")
    assert again.all() == (checkpoint("b"),)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a.json", "-a", "a" * 65, "a\n"])
def test_names_that_are_no_file_names(tmp_path: Path, name: str) -> None:
    checkpoints = Checkpoints(tmp_path)
    for call in (checkpoints.load, checkpoints.remove, lambda n: checkpoints.save(checkpoint(n))):
        with pytest.raises(ConfigError):
            call(name)


@pytest.mark.parametrize("size", [0, 1, 50])
def test_a_torn_file_is_no_new_beginning(tmp_path: Path, size: int) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(checkpoint("a"))
    path = tmp_path / "a.json"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CorruptStoreError, match=r"a\.json.*repltap sink reset a"):
        checkpoints.load("a")


def test_damage_is_refused(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(checkpoint("a"))
    path = tmp_path / "a.json"
    path.write_bytes(path.read_bytes().replace(b"77", b"78"))
    with pytest.raises(CorruptStoreError, match="checksum"):
        checkpoints.load("a")


def test_the_file_of_another_sink_is_refused(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(checkpoint("a"))
    (tmp_path / "a.json").rename(tmp_path / "b.json")
    with pytest.raises(CorruptStoreError, match="is of sink 'a'"):
        checkpoints.load("b")


@pytest.mark.parametrize("name", ["history", "replid", "offset"])
def test_a_place_that_pins_nothing_is_refused(tmp_path: Path, name: str) -> None:
    place = {**checkpoint("a").place}
    del place[name]
    with pytest.raises(ValueError):
        Checkpoints(tmp_path).save(Checkpoint(sink="a", place=place, state={}, saved_at=0.0))
    assert not (tmp_path / "a.json").exists()


def test_a_state_that_is_too_large_or_no_json_is_refused(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(checkpoint("a", text="x" * (MAX_STATE_BYTES - 100)))
    with pytest.raises(ValueError, match="more than"):
        checkpoints.save(checkpoint("a", text="x" * MAX_STATE_BYTES))
    with pytest.raises(ValueError, match="no JSON"):
        checkpoints.save(checkpoint("a", raw=b"bytes"))
    assert checkpoints.load("a") is not None


def test_the_lock_is_beside_it(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path).lock_path("a") == tmp_path / "a.lock"


def test_a_reset_is_kept_with_or_without_a_place(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for made in (
        replace(checkpoint("a", length=5), reset="9f2c"),
        Checkpoint(sink="a", place=None, state={}, saved_at=1.0, reset="9f2c"),
    ):
        checkpoints.save(made)
        assert checkpoints.load("a") == made


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"place": None}, "no place, and no reset"),
        ({"reset": 5}, "reset is 5"),
        ({"place": [], "reset": "9f2c"}, "have to be objects"),
    ],
)
def test_a_checkpoint_that_nothing_has_made_is_refused(
    tmp_path: Path, fields: dict[str, object], said: str
) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(checkpoint("a"))
    whole = {key: value for key, value in load_json(tmp_path / "a.json").items() if key != "crc32c"}
    publish_json(tmp_path / "a.json", whole | fields)
    with pytest.raises(CorruptStoreError, match=said):
        checkpoints.load("a")
