"""`repltap journal` against a data directory."""

import json
from pathlib import Path

import pytest

from repltap.cli.main import main
from repltap.store.history import HistoryStore
from tests.cli.stored import FIRST, STREAM, fill, flip
from tests.stored import OTHER


@pytest.fixture
def history(tmp_path: Path) -> HistoryStore:
    return fill(tmp_path)


@pytest.fixture(autouse=True)
def _data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLTAP_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("REPLTAP_CONFIG", raising=False)
    monkeypatch.setenv("TZ", "UTC")


def test_ls(history: HistoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["journal", "ls"]) == 0
    title, header, row = capsys.readouterr().out.splitlines()
    assert title == "Histories"
    assert header.split("  ")[1].strip() == "history"
    assert OTHER[:8] in row
    assert str(FIRST + len(STREAM)) in row
    assert "10.0.0.1:6379" in row


def test_ls_segments(history: HistoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["journal", "ls", "--segments"]) == 0
    shown = capsys.readouterr().out
    for segment in history.journal.segments:
        assert segment.path.name in shown


def test_ls_json(history: HistoryStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["journal", "ls", "--json", "--segments", "--data-dir", str(tmp_path)]) == 0
    document = json.loads(capsys.readouterr().out)
    (found,) = document["histories"]
    assert document["owner"] is None
    assert found["replid"] == OTHER
    assert (found["first_offset"], found["end_offset"]) == (FIRST, FIRST + len(STREAM))
    assert found["durable_offset"] == found["end_offset"]
    assert (found["first_byte_at"], found["last_byte_at"]) == (1000.0, 1030.0)
    assert found["segments"] == len(found["files"]) == len(history.journal.segments)
    assert found["files"][0]["index_records"] == history.journal.segments[0].index_bytes // 24


def test_ls_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "histories").mkdir()
    assert main(["journal", "ls"]) == 0
    assert capsys.readouterr().out == "nothing is stored yet\n"


def test_a_damaged_history_file(history: HistoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    flip(history.path / "history.json", 20)
    for command in ("ls", "verify"):
        assert main(["journal", command]) == 5
        assert "history.json: " in capsys.readouterr().out


def test_verify(history: HistoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["journal", "verify"]) == 0
    size = len(STREAM)
    assert capsys.readouterr().out == (
        f"history 1: offsets {FIRST} to {FIRST + size}, {size} bytes match their checksums\n"
    )


def test_verify_names_what_is_damaged(
    history: HistoryStore, capsys: pytest.CaptureFixture[str]
) -> None:
    first, _, third = history.journal.segments[:3]
    flip(first.path, 10)
    flip(third.path, 10)
    assert main(["journal", "verify"]) == 5
    summary, *damaged, count = capsys.readouterr().out.splitlines()
    assert summary.startswith("history 1: ")
    assert [line.split(": ")[1] for line in damaged] == [str(first.path), str(third.path)]
    assert f"offsets {FIRST} to " in damaged[0]
    assert count == "2 damaged"


def test_verify_json(history: HistoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    flip(history.journal.segments[0].path, 10)
    assert main(["journal", "verify", "--json", "--history", "1"]) == 5
    document = json.loads(capsys.readouterr().out)
    (damage,) = document["damages"]
    assert damage["file"] == str(history.journal.segments[0].path)
    assert damage["offset_start"] == FIRST
    assert document["histories"][0]["damaged"]


def test_a_torn_end_is_no_damage(history: HistoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    with open(history.journal.segments[-1].path, "ab") as file:
        file.write(b"torn")
    assert main(["journal", "verify"]) == 0
    assert "4 bytes at the end are torn off by a crash" in capsys.readouterr().out


def test_no_such_history(history: HistoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["journal", "verify", "--history", "4"]) == 4
    assert "there is no history 4" in capsys.readouterr().err


def test_no_data_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["journal", "ls", "--data-dir", str(tmp_path / "absent")]) == 4
    assert "is not a data directory of repltap" in capsys.readouterr().err


def test_the_data_directory_of_the_configuration_file(
    history: HistoryStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("REPLTAP_DATA_DIR")
    assert main(["journal", "ls"]) == 2
    assert "--data-dir is missing" in capsys.readouterr().err
    file = tmp_path / "repltap.toml"
    file.write_text(f'[store]\ndata_dir = "{tmp_path}"\n')
    assert main(["journal", "ls", "--config", str(file)]) == 0


@pytest.mark.parametrize("command", ["ls", "verify"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["journal", command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"repltap journal {command} --data-dir ./data" in shown
    assert "REPLTAP_DATA_DIR" in shown
