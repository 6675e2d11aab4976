"""The units: systemd takes them, they are as closed as they say, and they start what they say."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from repltap.cli.run import run
from repltap.config import load
from tests.deploy.units import SYSTEMD, settings

UNITS = ("repltap.service", "repltap@.service")

# 10 is a service without any protection; systemd calls what is below 2 "OK".
MAX_EXPOSURE = 2.0

analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")


def installed(unit: str, directory: Path, name: str = "") -> Path:
    """A copy whose program is there: one that isn't is the first thing that systemd would say."""
    program = directory / "repltap"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = (SYSTEMD / unit).read_text(encoding="utf-8")
    assert "/opt/repltap/bin/repltap" in text
    copy = directory / (name or unit)
    copy.write_text(text.replace("ExecStart=/opt/repltap/bin/repltap", f"ExecStart={program}"))
    return copy


@analyze
@pytest.mark.parametrize(
    ("unit", "name"), [("repltap.service", ""), ("repltap@.service", "repltap@orders.service")]
)
def test_systemd_takes_the_unit(unit: str, name: str, tmp_path: Path) -> None:
    path = installed(unit, tmp_path, name)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", path], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@analyze
@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_is_closed(unit: str, tmp_path: Path) -> None:
    path = installed(unit, tmp_path, unit.replace("@", "@orders"))
    command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={MAX_EXPOSURE * 10:g}"]
    done = subprocess.run([*command, path], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("unit", UNITS)
def test_the_command_line_is_one_that_repltap_takes(unit: str) -> None:
    (line,) = settings(unit)["ExecStart"]
    program, command, *arguments = shlex.split(line)
    assert (program, command) == ("/opt/repltap/bin/repltap", "run")
    context = run.make_context("run", arguments)
    name = "%i" if "@" in unit else "repltap"
    assert context.params["file"] == Path(f"/etc/repltap/{name}.toml")


@pytest.mark.parametrize("unit", UNITS)
def test_the_data_is_where_the_unit_may_write(unit: str) -> None:
    found = settings(unit)
    assert found["Environment"] == [f"REPLTAP_DATA_DIR=%S/{found['StateDirectory'][0]}"]
    assert found["ProtectSystem"] == ["strict"]


def test_the_example_is_a_configuration() -> None:
    """With what the unit adds to it."""
    environ = {"REPLTAP_DATA_DIR": "/var/lib/repltap", "REPLTAP_UPSTREAM_PASSWORD": "secret"}
    config = load({}, environ, SYSTEMD / "repltap.toml")
    assert config.upstream.username == "repltap"
    assert config.store.data_dir == Path("/var/lib/repltap")
    assert config.http is not None


def test_both_units_are_one_but_for_the_name() -> None:
    one, many = (settings(unit) for unit in UNITS)
    different = {name for name in one.keys() | many.keys() if one.get(name) != many.get(name)}
    assert different == {
        "Description",
        "ExecStart",
        "Environment",
        "EnvironmentFile",
        "StateDirectory",
        "LogsDirectory",
    }
