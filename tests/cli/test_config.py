"""`repltap config check` and `repltap run --print-config`."""

import json
import os
from pathlib import Path

import pytest

from repltap.cli.main import main

GOOD = '[upstream]\nurl = "redis://m"\n[store]\ndata_dir = "d"\n'


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("REPLTAP_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "repltap.toml"
    file.write_text(GOOD)
    return file


def test_a_good_one(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", "--config", str(file), "--sink", "file:./x"]) == 0
    out, err = capsys.readouterr()
    assert out == (
        "the configuration is valid: master m:6379, listen 127.0.0.1:6380, http off, data in d, "
        "sinks: file (file)\n"
    )
    assert err == ""
    assert not Path("d").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[store]\nfsnyc = 'no'\n", "did you mean fsync?"),
        ("[sink.a]\ntype = 'fle'\n", "there is no sink 'fle'"),
        ("[sink.a]\ntype = 'file'\npth = 'x'\n", "did you mean path?"),
        ("[listen]\npassword_file = '/nonexistent'\n", "password file can't be read"),
        (
            "[http]\naddress = '[::1]:1'\ntls_cert_file = '/no'\ntls_key_file = '/no'\n",
            "/no can't be",
        ),
    ],
)
def test_bad_ones(file: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(text if text.startswith("[store]") else GOOD + text)
    assert main(["config", "check", "--config", str(file)]) == 2
    assert said in capsys.readouterr().err
    assert main(["run", "--print-config", "--config", str(file)]) == 2


def test_how_masters_and_addresses_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    for url, listen, said in (
        (
            "unix:///run/redis.sock",
            "127.0.0.1:7000",
            "master /run/redis.sock, listen 127.0.0.1:7000",
        ),
        (
            "redis-sentinel://h/cache",
            "[::1]:7000",
            "master cache (its sentinels say where), listen",
        ),
    ):
        flags = ["--upstream", url, "--listen", listen, "--data-dir", "d"]
        assert main(["config", "check", *flags]) == 0
        assert said in capsys.readouterr().out


def test_typos_in_variables(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REPLTAP_DATADIR", "x")
    assert main(["config", "check", "--config", str(file)]) == 0
    assert "did you mean REPLTAP_DATA_DIR?" in capsys.readouterr().err
    assert main(["config", "check", "--config", str(file), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["valid"] is True
    assert len(document["warnings"]) == 1


def test_print_config(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--print-config", "--config", str(file), "--store-fsync", "no"]) == 0
    shown = capsys.readouterr().out
    assert 'fsync = "no"  # --store-fsync\n' in shown
    again = tmp_path / "again.toml"
    again.write_text(shown)
    assert main(["config", "check", "--config", str(again)]) == 0
