"""TLS on both sides of a relay, with certificates of both, and real servers at both ends."""

from __future__ import annotations

import pytest

from tests.servers.dataset import wait_same
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.relay import Relay
from tests.servers.server import Server
from tests.servers.waiting import wait_for

PROGRAM = "redis-7.0"  # the one that has TLS built in


def _chain(lab: Lab) -> tuple[Server, Load, Relay, Server]:
    """Start a master, a relay and a replica that show each other certificates."""
    master = lab.master(PROGRAM, tls=True)
    load = Load(master, features=master.flavour.features)
    load.write(150)
    relay = lab.relay(lab.proxy(master, tls=True), tls=True)
    replica = lab.server(PROGRAM, "replica", upstream=lab.proxy(relay, tls=True), tls=True)
    return master, load, relay, replica


def test_cuts_under_load_cost_no_full_sync(lab: Lab) -> None:
    """Both links are cut again and again while the master is written to."""
    master, load, relay, replica = _chain(lab)
    above, below = lab.proxies
    with load:
        replica.wait_link()
        assert master.replicas()[0]["port"] == str(relay.tls_port)
        for reset in (False, True, False):
            above.cut(reset=reset)
            below.cut(reset=not reset)
            relay.wait_link()
            replica.wait_link()
    wait_same(master, replica)
    assert (master.syncs.full, relay.syncs.full) == (1, 1)
    assert replica.full_syncs_received == 1
    assert relay.syncs.partial_ok >= 1


@pytest.mark.parametrize("program", ["redis-6.2", "redis-8.2", "valkey-8.1", "valkey-9.1"])
def test_servers_without_tls_behind_tunnels(lab: Lab, program: str) -> None:
    """The bytes of any version pass; the tunnels are what the servers lack."""
    master = lab.master(program, tls=True)
    load = Load(master, features=master.flavour.features)
    relay = lab.relay(master, tls=True)
    replica = lab.server(program, "replica", upstream=relay, tls=True)
    with load:
        replica.wait_link()
    wait_same(master, replica)
    assert (master.syncs.full, relay.syncs.full) == (1, 1)
    wait_for("an ACK of all", lambda: relay.replicas()[0]["offset"] == str(master.offset))
