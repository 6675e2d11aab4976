"""`repltap snapshot` against a data directory."""

import json
import os
from pathlib import Path

import pytest

from repltap.cli.main import main
from repltap.store.history import HistoryStore
from repltap.store.snapshot import Snapshot
from tests.cli.stored import FIRST, fill, flip


@pytest.fixture
def history(tmp_path: Path) -> HistoryStore:
    return fill(tmp_path)


@pytest.fixture
def stored(history: HistoryStore) -> Snapshot:
    (snapshot,) = history.snapshots.all
    return snapshot


@pytest.fixture(autouse=True)
def _data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLTAP_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("REPLTAP_CONFIG", raising=False)


def test_ls(stored: Snapshot, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["snapshot", "ls"]) == 0
    title, _, row = capsys.readouterr().out.splitlines()
    assert title == "Snapshots"
    assert str(FIRST) in row
    assert "REDIS0011" in row
    assert stored.path.name in row


def test_ls_json(stored: Snapshot, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["snapshot", "ls", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["snapshots"]
    assert (found["offset"], found["size_bytes"]) == (FIRST, stored.size_bytes)
    assert (found["file"], found["aux"]) == (str(stored.path), {"a": "b"})


def test_ls_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "histories").mkdir()
    for command in ("ls", "verify"):
        assert main(["snapshot", command]) == 0
        assert capsys.readouterr().out == "no snapshot is stored\n"


def test_verify(stored: Snapshot, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["snapshot", "verify"]) == 0
    assert capsys.readouterr().out == (
        f"history 1: {stored.path.name}, {stored.size_bytes} bytes, is right\n"
    )


@pytest.mark.parametrize("position", [0, 12, -9, -1])
def test_a_flipped_byte(
    stored: Snapshot, position: int, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(stored.path, position)
    assert main(["snapshot", "verify"]) == 5
    damaged, count = capsys.readouterr().out.splitlines()
    assert damaged.startswith(f"damaged: {stored.path}: does not ")
    assert count == "1 damaged"


def test_a_wrong_size(stored: Snapshot, capsys: pytest.CaptureFixture[str]) -> None:
    os.truncate(stored.path, 20)
    for command in ("ls", "verify"):
        assert main(["snapshot", command]) == 5
        assert f"{stored.path}: is 20 bytes long instead of" in capsys.readouterr().out


def test_a_flipped_byte_of_the_metadata(
    stored: Snapshot, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata = stored.path.with_suffix(".json")
    flip(metadata, 30)
    assert main(["snapshot", "verify", "--json", "--history", "1"]) == 5
    document = json.loads(capsys.readouterr().out)
    (damage,) = document["damages"]
    assert damage["file"] == str(metadata)
    assert document["snapshots"] == []


def test_a_missing_file(stored: Snapshot, capsys: pytest.CaptureFixture[str]) -> None:
    stored.path.unlink()
    assert main(["snapshot", "verify"]) == 5
    assert f"{stored.path}: the snapshot's file is missing" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["ls", "verify"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["snapshot", command, "--help"]) == 0
    assert f"repltap snapshot {command} --data-dir ./data" in capsys.readouterr().out
