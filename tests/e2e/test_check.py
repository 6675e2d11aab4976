"""`repltap check` against real masters: what it says is so, and it leaves no trace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers.lab import Lab
from tests.servers.ports import free_port
from tests.servers.relay import REPOSITORY
from tests.servers.secrets import assert_no_secret, secret
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.relay_only

FAILED = 7
PROGRAMS = ("redis-6.2", "redis-7.0", "valkey-9.1")


def check(directory: Path, *words: str, **environ: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run it; return its code and its findings by name."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("REPLTAP_")}
    command = [sys.executable, "-m", "repltap", "check", "--json", "--sample-seconds", "0.5"]
    more = ["--data-dir", str(directory / "data"), "--listen", f"127.0.0.1:{free_port()}"]
    done = subprocess.run(
        [*command, *more, *words],
        env=clean | environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
        cwd=directory,
    )
    assert_no_secret(("check", (done.stdout + done.stderr).encode()))
    assert done.returncode in (0, FAILED), done.stderr
    return done.returncode, {one["check"]: one for one in json.loads(done.stdout)["findings"]}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_master_as_it_comes(lab: Lab, program: str) -> None:
    master = lab.master(program)
    code, found = check(lab.directory, "-p", str(master.port))
    assert code == 0
    assert {one["level"] for one in found.values()} <= {"ok", "warn"}, found
    assert ".".join(map(str, master.flavour.version)) in found["version"]["found"]
    info = master.info("everything")
    assert (info["sync_full"], info["connected_slaves"]) == ("0", "0")
    assert list(lab.directory.glob("data")) == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_acl_users(lab: Lab, program: str) -> None:
    """Each missing right is told; what the least user can't see is unknown."""
    master = lab.master(program)
    rules = {
        "least": "+psync +replconf +ping",
        "nopsync": "+replconf +ping",
        "noreplconf": "+psync +ping",
        "denied": "+@all -psync",
        "reader": "+psync +replconf +ping +info +config|get",
    }
    for user, rule in rules.items():
        master.call("ACL", "SETUSER", user, "on", f">{secret()}", *rule.split())

    def levels(user: str, password: str = secret()) -> tuple[int, dict[str, str]]:
        words = ["-p", str(master.port), "--user", user]
        code, found = check(lab.directory, *words, REPLTAP_UPSTREAM_PASSWORD=password)
        return code, {name: one["level"] for name, one in found.items()}

    code, found = levels("least")
    assert code == 0
    assert (found["psync"], found["replconf"], found["version"]) == ("ok", "ok", "ok")
    assert found["repl-timeout"] == found["dataset"] == found["disk"] == "unknown"
    assert "fail" not in found.values()
    for user, missing in (("nopsync", "psync"), ("noreplconf", "replconf"), ("denied", "psync")):
        code, found = levels(user)
        assert code == FAILED
        assert [name for name, level in found.items() if level == "fail"] == [missing]
    code, found = levels("reader")
    assert "unknown" not in found.values()
    code, found = levels("least", secret("wrong"))
    assert (code, found["auth"]) == (FAILED, "fail")
    assert master.info("stats")["sync_full"] == "0"
    # What was said of the least user is so.
    relay = lab.relay(
        master, upstream_username="least", upstream_password=secret(), log_level="debug"
    )
    wait_for("the relay to sync", lambda: bool(relay.running and _is_up(relay)))


def _is_up(relay: Any) -> bool:
    try:
        return bool(relay.status()["upstream"]["state"] == "connected")
    except OSError:
        return False


def test_a_command_that_is_renamed(lab: Lab) -> None:
    master = lab.master("redis-7.0", rename_command="PSYNC hidden")
    code, found = check(lab.directory, "-p", str(master.port))
    assert (code, found["psync"]["level"]) == (FAILED, "fail")
    assert "rename-command" in found["psync"]["advice"]


def test_settings_against_the_write_rate(lab: Lab) -> None:
    """A backlog and an output buffer that are too small for what is written are found."""
    master = lab.master("redis-7.0")
    replica = lab.server("redis-7.0", upstream=master)
    replica.wait_ready()
    replica.wait_link()
    for name, value in (
        ("repl-backlog-size", "16kb"),
        ("client-output-buffer-limit", "replica 64kb 32kb 60"),
        ("min-replicas-to-write", "1"),
    ):
        master.call("CONFIG", "SET", name, value)
    code = (
        "import sys,time;sys.path.insert(0,sys.argv[1]);from tests.servers.client import Client;"
        "c=Client(int(sys.argv[2]));print('on',flush=True)\n"
        "while True: c.pipeline([('SET','k','x'*1000)]*200);time.sleep(0.01)"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(REPOSITORY), str(master.port)], stdout=subprocess.PIPE
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"on\n"
        ended, found = check(lab.directory, "-p", str(master.port))
    finally:
        writer.kill()
        writer.communicate()
    assert found["repl-backlog-size"]["level"] == "warn"
    assert found["min-replicas-to-write"]["level"] == "warn"
    assert found["client-output-buffer-limit"]["level"] == "fail"
    assert ended == FAILED
    assert "replication stream" in found["write-rate"]["found"]


def test_a_relay_as_the_master(lab: Lab) -> None:
    master = lab.master("redis-7.0")
    relay = lab.relay(master)
    relay.wait_ready()
    relay.wait_link()
    code, found = check(lab.directory, "-p", str(relay.port))
    assert code == 0, found
    assert found["psync"]["level"] == "ok"
