import json
from pathlib import Path

import pytest

from repltap.cli.main import main
from tests.rdb.build import key, rdb, string

FILE = Path(__file__).parent.parent / "rdb" / "data" / "full-r70.rdb"


def test_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["snapshot", "memory", str(FILE), "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Memory, estimated"
    assert [line.split()[:3] for line in lines if line.startswith("  all")] == [["all", "-", "10"]]
    assert len(lines[lines.index("Largest keys") :]) == 4


def test_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "dump.rdb"
    path.write_bytes(rdb(key(0, b"\xff", string(b"x" * 900)) + key(0, b"k", string(b"x"))))
    assert main(["snapshot", "memory", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    first, second = document["largest"]
    assert (first["key"], first["enc"], second["key"]) == ("/w==", "base64", "k")
    assert sum(one["memory_bytes"] for one in document["totals"]) == (
        first["memory_bytes"] + second["memory_bytes"]
    )


def test_filters_and_no_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["snapshot", "memory", str(FILE), "--db", "0"]) == 0
    assert "Largest" not in capsys.readouterr().out


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["snapshot", "memory", "--help"]) == 0
    assert "repltap snapshot memory dump.rdb" in capsys.readouterr().out
