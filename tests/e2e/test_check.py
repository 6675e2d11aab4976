"""`repltap check` against real masters: what it says is so, and it leaves no trace."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.servers.lab import Lab
from tests.servers.ports import free_port
from tests.servers.relay import REPOSITORY
from tests.servers.secrets import assert_no_secret, secret
from tests.servers.server import Server
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.relay_only

FAILED = 7
PROGRAMS = ("redis-6.2", "redis-7.0", "valkey-9.1")
EVERY_PROGRAM = (*PROGRAMS, "redis-8.2", "valkey-8.1")
BADLY = ("warn", "fail")


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


_ADVISED = re.compile(r'(?:CONFIG SET|ACL SETUSER) \S+(?: (?:"[^"]*"|\+\S+|\d\w*))+')
BAD = {
    "repl-backlog-size": "16kb",
    "client-output-buffer-limit": "replica 512kb 256kb 60",
    "repl-timeout": "9",
    "repl-ping-replica-period": "60",
    "repl-diskless-sync-delay": "600",
    "min-replicas-to-write": "1",
}
WRONG = {"psync", "replconf", "repl-diskless-sync", *BAD} - {"repl-diskless-sync-delay"}


# As much as any machine writes, in step with the clock, so that each sample counts the same. Before
# more is written the replica has what was: the master cuts it off with little on its way only.
_WRITER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from tests.servers.client import Client
client, began, written = Client(int(sys.argv[2])), time.monotonic(), 0
print("on", flush=True)
while True:
    while written < (time.monotonic() - began) * 1_000_000:
        client.pipeline([("SET", "k", "x" * 1_000)] * 50 + [("WAIT", 1, 0)])
        written += 50_000
    time.sleep(0.01)
"""


@contextmanager
def writing(master: Server) -> Iterator[None]:
    """Write a megabyte a second."""
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(REPOSITORY), str(master.port)], stdout=subprocess.PIPE
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"on\n"
        yield
    finally:
        writer.kill()
        writer.communicate()


def paste(master: Server, lines: Iterable[str]) -> None:
    """Give commands to redis-cli, or do what it does where there is none."""
    cli = shutil.which("redis-cli")
    for line in lines:
        if cli is None:
            assert master.call(*shlex.split(line)) == b"OK"
            continue
        told = subprocess.run(
            [cli, "-p", str(master.port)], input=line, capture_output=True, text=True, check=False
        )
        assert told.stdout.strip() == "OK", (line, told)


@pytest.mark.parametrize("program", EVERY_PROGRAM)
def test_what_is_advised_mends_what_was_found(lab: Lab, program: str) -> None:
    """Everything is set badly, found, and gone when the advice was pasted into redis-cli."""
    master = lab.master(program)
    replica = lab.server(program, upstream=master)
    replica.wait_ready()
    replica.wait_link()
    for name, value in BAD.items():
        master.call("CONFIG", "SET", name, value)
    master.call("ACL", "SETUSER", "tap", "on", f">{secret()}", "+info", "+config|get")
    # So long that a moment without a turn of the processor does not halve or double the rate.
    words = ("-p", str(master.port), "--user", "tap", "--sample-seconds", "2")
    with writing(master):
        code, found = check(lab.directory, *words, REPLTAP_UPSTREAM_PASSWORD=secret())
        wrong = {name: one["advice"] for name, one in found.items() if one["level"] in BADLY}
        assert code == FAILED
        assert wrong.keys() >= WRONG
        assert "replication stream" in found["write-rate"]["found"]
        paste(master, {line for advice in wrong.values() for line in _ADVISED.findall(advice)})
        # The one that is an option of ours.
        assert "quorum:1" in wrong["min-replicas-to-write"]
        ours = ("--upstream-ack-policy", "quorum:1")
        # As redis-cli takes it.
        code, found = check(lab.directory, *words, *ours, REDISCLI_AUTH=secret())
    left = {name for name, one in found.items() if one["level"] in BADLY}
    assert (code, left & WRONG) == (0, set()), found


@pytest.mark.parametrize("program", EVERY_PROGRAM)
def test_a_right_that_is_missing_can_be_pasted(lab: Lab, program: str) -> None:
    master = lab.master(program)
    master.call("ACL", "SETUSER", "tap", "on", f">{secret()}", "+psync", "+replconf")
    words = ("-p", str(master.port), "--user", "tap")
    code, found = check(lab.directory, *words, REPLTAP_UPSTREAM_PASSWORD=secret())
    assert (code, found["auth"]["level"]) == (0, "ok")  # PING is not needed
    hidden = {name: one["advice"] for name, one in found.items() if one["level"] == "unknown"}
    paste(master, {line for advice in hidden.values() for line in _ADVISED.findall(advice)})
    code, found = check(lab.directory, *words, REPLTAP_UPSTREAM_PASSWORD=secret())
    assert "unknown" not in {one["level"] for one in found.values()}


def test_a_relay_as_the_master(lab: Lab) -> None:
    master = lab.master("redis-7.0")
    relay = lab.relay(master)
    relay.wait_ready()
    relay.wait_link()
    code, found = check(lab.directory, "-p", str(relay.port))
    assert code == 0, found
    assert found["psync"]["level"] == "ok"
