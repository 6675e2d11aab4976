"""Sentinels, master and replicas that speak TLS with each other and with the relay."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.servers.certificates import Authority
from tests.servers.dataset import wait_same
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.relay import Relay
from tests.servers.sentinel import MASTER_NAME, wait_settled, watchful
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.relay_only

PROGRAM = "redis-7.0"


def _seen(relay: Relay) -> list[dict[str, Any]]:
    return list(relay.status()["upstream"]["sentinel"]["sentinels"])


def _check(relay: Relay, ca_file: str) -> dict[str, list[tuple[str, str]]]:
    """Run `repltap check` as the relay is configured, with this CA; levels and texts by check."""
    environ = {
        **relay.environ(),
        "REPLTAP_UPSTREAM": relay.upstream_url,
        "REPLTAP_UPSTREAM_TLS_CA_CERT_FILE": ca_file,
    }
    command = [sys.executable, "-m", "repltap", "check", "--sample-seconds", "0", "--json"]
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for each in json.loads(done.stdout)["findings"]:
        found.setdefault(each["check"], []).append((each["level"], each["found"]))
    return found


def test_all_speak_tls_and_the_master_goes(lab: Lab) -> None:
    """A wrong CA is told, the right one is taken at SIGHUP; then a failover."""
    first = lab.master(PROGRAM, "first", tls=True)
    second = lab.server(PROGRAM, "second", upstream=first, tls=True)
    second.wait_link()
    sentinels = lab.sentinels(PROGRAM, first, tls=True)
    pair = lab.authority.issue()
    stranger = Authority(lab.directory / "stranger").ca_file
    ca_file = lab.directory / "ca-of-the-relay.pem"
    ca_file.write_bytes(stranger.read_bytes())
    relay = lab.relay(first, tls=pair, start=False, upstream_tls_ca_cert_file=str(ca_file))
    relay.upstream_url = f"rediss-sentinel://127.0.0.1:{sentinels[0].tls_port}/{MASTER_NAME}"
    relay.start()
    relay.wait_ready()
    wait_for("an error", lambda: "is not signed by a CA that" in _seen(relay)[0]["error"])
    assert "the certificate of the sentinel" in _check(relay, str(stranger))["sentinel"][0][1]

    ca_file.write_bytes(pair.ca_file.read_bytes())
    os.kill(relay.pid, signal.SIGHUP)
    below = lab.server(PROGRAM, "below", upstream=relay, tls=True)
    below.wait_link()
    wait_for("all are known", lambda: {each["state"] for each in _seen(relay)} == {"answering"})
    wait_for("by their ports with TLS", lambda: _ports(relay) == {s.tls_port for s in sentinels})
    checked = _check(relay, str(ca_file))
    levels = [level for one in ("sentinel", "reach", "role") for level, _ in checked[one]]
    assert levels == ["ok"] * 5, checked
    wait_settled(sentinels, first, second, relay)
    load = Load(first, features=first.flavour.features)
    load.write(100)
    wait_same(first, second, below)
    first.kill()
    with watchful(sentinels):
        wait_for(
            "the relay follows the other",
            lambda: relay.link_up and relay.status()["upstream"]["port"] == second.tls_port,
            60,
        )
    Load(second, features=second.flavour.features).write(100)
    wait_same(second, below)
    assert (second.syncs.full, below.full_syncs_received) == (0, 1)


def _ports(relay: Relay) -> set[int]:
    return {int(each["address"].rpartition(":")[2]) for each in _seen(relay)}
