"""A master that is followed by its unix socket: full sync, stream, partial resync, its offset."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.dataset import wait_same
from tests.servers.lab import Lab
from tests.servers.relay import REPOSITORY
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.relay_only


@pytest.mark.parametrize("program", ["redis-6.2", "redis-7.0", "valkey-9.1"])
def test_a_unix_socket(lab: Lab, program: str) -> None:
    # Its path has to be short: sun_path holds 108 bytes.
    path = Path(lab.directory) / "m.sock"
    master = lab.master(program, unixsocket=str(path))
    master.call("SET", "before", "1")
    relay = lab.relay(master, start=False)
    relay.upstream_url = f"unix://{path}"
    relay.start()
    relay.wait_ready()
    relay.wait_link()
    replica = lab.server(program, upstream=relay)
    replica.wait_ready()
    replica.wait_link()
    master.call("SET", "after", "2")
    wait_same(master, replica)
    upstream = relay.status()["upstream"]
    assert (upstream["host"], upstream["port"]) == (str(path), 0)
    before = master.syncs
    wait_for("a stored snapshot", relay.snapshots)
    relay.kill()
    relay.restart()
    relay.wait_ready()
    relay.wait_link()
    master.call("SET", "later", "3")
    wait_same(master, replica)
    assert master.syncs.full == before.full
    wait_for("an acknowledged offset", lambda: master.call("WAIT", 1, 100) == 1)
    environ = {k: v for k, v in os.environ.items() if not k.startswith("REPLTAP_")}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "repltap", "check", "--sample-seconds", "0"),
            *("--upstream", f"unix://{path}", "--listen", "127.0.0.1:0"),
        ],
        env=environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PSYNC is allowed" in done.stdout
