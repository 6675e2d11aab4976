"""Alert rules and runbook: tested by promtool, and against what a real relay exports."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import urllib.request
from pathlib import Path

import click
import pytest

from repltap.cli.main import cli
from repltap.options import OPTIONS
from tests.deploy.scenery import measured_relay
from tests.servers.lab import laboratory
from tests.servers.waiting import PATIENCE_SECONDS, wait_for

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "repltap.rules.yml"
NAMES = re.compile(r"^\s*- alert: (\w+)$", re.MULTILINE)


def promtool(*args: str, stdin: str | None = None) -> str:
    """Run promtool, or skip the test where it is absent."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is absent")
    done = subprocess.run(
        [program, *args],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_rules_are_well_formed() -> None:
    assert "SUCCESS" in promtool("check", "rules", str(RULES))


def test_the_configuration_of_compose_is_one() -> None:
    path = DEPLOY / "docker" / "prometheus.yaml"
    assert "SUCCESS" in promtool("check", "config", "--syntax-only", str(path))


def test_each_alert_fires_and_does_not() -> None:
    promtool("test", "rules", str(DEPLOY / "prometheus" / "tests.yml"))
    tests = (DEPLOY / "prometheus" / "tests.yml").read_text()
    for name in NAMES.findall(RULES.read_text()):
        assert f"- name: {name}\n" in tests
        assert f"- name: {name} does not fire\n" in tests


def test_the_runbook_has_each_alert_and_no_other() -> None:
    headings = re.findall(r"^## (\w+)$", (DEPLOY / "runbook.md").read_text(), re.MULTILINE)
    assert headings == NAMES.findall(RULES.read_text())
    links = re.findall(r"runbook\.md#(\w+)", RULES.read_text())
    assert links == [heading.lower() for heading in headings]


def test_what_the_runbook_says_exists() -> None:
    """Commands and their options, the relay's options, metrics, files, other alerts."""
    text = (DEPLOY / "runbook.md").read_text()
    plain = " ".join(text.split())
    commands = set(re.findall(r"`(repltap [^`]*)`", plain))
    commands |= {line.split("#")[0] for line in text.splitlines() if line.startswith("repltap ")}
    assert len(commands) > 8
    for line in commands:
        command: click.Command = cli
        words = shlex.split(line)[1:]
        while words and isinstance(command, click.Group) and not words[0].startswith("-"):
            found = command.get_command(click.Context(command), words.pop(0))
            assert found is not None, line
            command = found
        known = {name for option in command.params for name in option.opts} | {"--help"}
        assert {word for word in words if word.startswith("-")} <= known, line
    options = {f"{option.section}.{option.name}" for option in OPTIONS}
    assert set(re.findall(r"`((?:upstream|listen|http|store|snapshot)\.\w+)`", plain)) <= options
    assert set(re.findall(r"`(Repltap\w+)`", plain)) <= set(NAMES.findall(RULES.read_text()))
    files = re.findall(r"`([\w/.]+\.(?:md|yml|py))`", plain)
    assert files
    assert all((DEPLOY / name).exists() or (DEPLOY.parent / name).exists() for name in files)


def test_every_metric_is_one_that_a_relay_has() -> None:
    """With a replica and a sink; promtool has nothing to say against them either."""
    texts = [path.read_text() for path in (RULES, DEPLOY / "runbook.md")]
    used = set(re.findall(r"\brepltap_\w+", "".join(texts))) - {"repltap_sentinels"}
    assert len(used) > 10
    # While one arrives, and with a Sentinel.
    elsewhere = {name for name in documented() if name.startswith("sentinel")} | {"snapshot_bytes"}
    wanted = used | {f"repltap_{name}" for name in documented() - elsewhere}
    with laboratory() as lab:
        relay = measured_relay(lab)

        def scraped() -> str:
            url = f"http://127.0.0.1:{relay.http_port}/metrics"
            with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
                text: str = answer.read().decode()
            known = re.findall(r"^(?:# TYPE )?(repltap_\w+)[{ ]", text, re.MULTILINE)
            arriving = "repltap_snapshot_bytes" in known
            return "" if wanted - set(known) or arriving else text

        text = wait_for("every metric that is used or documented, and is not elsewhere's", scraped)
    assert promtool("check", "metrics", stdin=text) == ""
    exported = set(re.findall(r"^# TYPE repltap_(\w+) ", text, re.MULTILINE))
    assert documented() - elsewhere == exported


def documented() -> set[str]:
    """The metrics that the documentation lists."""
    rows = [
        line.split("|")[1]
        for line in (DEPLOY.parent / "docs" / "metrics.md").read_text().splitlines()
        if line.startswith("| `")
    ]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}
