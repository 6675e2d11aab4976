"""`repltap check`: its table, its JSON, its exit codes; real masters are asked in e2e."""

import json
from pathlib import Path

import pytest

from repltap.cli import check as module
from repltap.cli.main import main
from repltap.config import Config
from repltap.preflight.finding import Finding, Level
from tests.servers.ports import free_port

OK = Finding("reach", Level.OK, "m:1 answers")
WARN = Finding("repl-timeout", Level.WARN, "5 s", "set it to 60")
FAIL = Finding("psync", Level.FAIL, "NOPERM", "allow it")
UNKNOWN = [Finding(name, Level.UNKNOWN, "NOPERM", "let the user ask") for name in ("a", "b")]


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    found: list[Finding] = [OK, *UNKNOWN]

    def look(_config: Config, _seconds: float, *, has_data_dir: bool) -> list[Finding]:
        return found

    for name in ("REPLTAP_UPSTREAM", "REPLTAP_DATA_DIR", "REPLTAP_CONFIG", "REPLTAP_LISTEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module, "_look", look)
    return found


def test_the_table(found: list[Finding], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--upstream", "redis://m"]) == 0
    assert capsys.readouterr().out == (
        "1 ok, 0 warn, 0 fail, 2 unknown\n"
        "           check  found\n"
        "  ok       reach  m:1 answers\n"
        "  unknown  a      NOPERM\n"
        "                  -> let the user ask\n"
        "  unknown  b      NOPERM\n"  # once is enough
    )


def test_exit_codes(found: list[Finding], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["check", "--upstream", "redis://m"]
    assert main([*words, "--strict"]) == 0
    found.append(WARN)
    assert main(words) == 0
    assert main([*words, "--strict"]) == 7
    found.append(FAIL)
    assert main(words) == 7
    assert main([*words, "--log-level", "loud"]) == 2
    assert main(["check"]) == 2
    assert "--upstream is missing" in capsys.readouterr().err


def test_json(found: list[Finding], capsys: pytest.CaptureFixture[str]) -> None:
    found[:] = [FAIL]
    assert main(["check", "--upstream", "redis://m", "--json"]) == 7
    assert json.loads(capsys.readouterr().out) == {
        "summary": {"ok": 0, "warn": 0, "fail": 1, "unknown": 0},
        "findings": [{"check": "psync", "level": "fail", "found": "NOPERM", "advice": "allow it"}],
    }


def test_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["check", "--upstream", "redis://m"]) == 0
    shown = capsys.readouterr().out
    assert "╭" in shown
    assert "let the user ask" in shown


def test_without_a_master_this_machine_is_still_looked_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.undo()
    words = ["check", "-p", str(free_port()), "--listen", "127.0.0.1:0"]
    assert main([*words, "--data-dir", str(tmp_path / "d"), "--json"]) == 7
    levels = {one["check"]: one["level"] for one in json.loads(capsys.readouterr().out)["findings"]}
    assert levels == {
        "reach": "fail",
        "data-dir": "ok",
        "disk": "unknown",
        "quota": "ok",
        "listen": "ok",
        "announce-ip": "ok",
        "access": "ok",
    }
    assert main([*words, "--json"]) == 7
    levels = {one["check"]: one["level"] for one in json.loads(capsys.readouterr().out)["findings"]}
    assert levels["data-dir"] == "unknown"
