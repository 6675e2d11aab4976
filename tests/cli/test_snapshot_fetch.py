"""`repltap snapshot fetch`: out of the store; from servers it is tested end to end."""

import json
from pathlib import Path

import pytest

from repltap.cli.main import main
from repltap.store.history import HistoryStore
from tests.cli.stored import FIRST, fill, flip
from tests.protocol.ways import rdb
from tests.servers.ports import silent_port
from tests.stored import OTHER


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HistoryStore:
    monkeypatch.delenv("REPLTAP_CONFIG", raising=False)
    # What `repltap run` is told is not whom this asks: the command line says that.
    monkeypatch.setenv("REPLTAP_UPSTREAM", "redis://192.0.2.1:1")
    monkeypatch.setenv("REPLTAP_DATA_DIR", str(tmp_path / "data"))
    return fill(tmp_path / "data")


def test_a_stored_one(
    history: HistoryStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "dump.rdb"
    assert main(["snapshot", "fetch", "--output", str(output)]) == 0
    assert output.read_bytes() == rdb()
    assert capsys.readouterr().out == (
        f"{output}: {len(rdb())} bytes, REDIS0011, offset {FIRST} of {OTHER}\n"
    )


def test_json(history: HistoryStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = str(tmp_path / "dump.rdb")
    assert main(["snapshot", "fetch", "-o", output, "--offset", str(FIRST), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["offset"], document["replid"], document["file"]) == (FIRST, OTHER, output)


def test_a_damaged_one_is_not_copied(
    history: HistoryStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (stored,) = history.snapshots.all
    flip(stored.path, 12)
    output = tmp_path / "dump.rdb"
    assert main(["snapshot", "fetch", "--output", str(output)]) == 5
    assert "does not match its checksum" in capsys.readouterr().err
    flip(stored.path.with_suffix(".json"), 12)
    assert main(["snapshot", "fetch", "--output", str(output)]) == 5
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_none_for_that_offset(
    history: HistoryStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "dump.rdb")
    assert main(["snapshot", "fetch", "--output", output, "--offset", "7"]) == 4
    assert "no snapshot is stored for offset 7" in capsys.readouterr().err


def test_a_master_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REPLTAP_CONFIG", raising=False)
    with silent_port() as port:
        words = ["--upstream", f"redis://127.0.0.1:{port}", "--output", str(tmp_path / "x")]
        assert main(["snapshot", "fetch", *words]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"repltap: error: 127.0.0.1:{port}: can't connect: ")
    assert "tried again" not in error
    assert list(tmp_path.iterdir()) == []


def test_redis_clis_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with silent_port() as port:
        assert main(["snapshot", "fetch", "-p", str(port), "--output", str(tmp_path / "x")]) == 1
    assert capsys.readouterr().err.startswith(f"repltap: error: 127.0.0.1:{port}: can't connect: ")
    assert main(["snapshot", "fetch", "-a", "hunter2", "--output", str(tmp_path / "x")]) == 2
    assert "hunter2" not in capsys.readouterr().err


@pytest.mark.parametrize("more", [["--offset", "1"], ["--history", "1"], ["--data-dir", "d"]])
def test_both_sources(more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["snapshot", "fetch", "--upstream", "redis://m", "-o", str(tmp_path / "x"), *more]
    assert main(words) == 2
    assert "--upstream goes with none of" in capsys.readouterr().err


def test_no_password_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["snapshot", "fetch", "--upstream", "redis://:secret@m", "-o", str(tmp_path / "x")]
    assert main(words) == 2
    assert "secret" not in capsys.readouterr().err
