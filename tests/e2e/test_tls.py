"""TLS on both sides of a relay, with certificates of both, and real servers at both ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest
import redis

from tests.servers.dataset import wait_same
from tests.servers.find import cli
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.relay import Relay
from tests.servers.server import Server
from tests.servers.waiting import PATIENCE_SECONDS, wait_for

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


def _reload(relay: Relay, wanted: str) -> None:
    before = relay.log.count(wanted)
    os.kill(relay.pid, signal.SIGHUP)
    wait_for(wanted, lambda: relay.log.count(wanted) > before)


def test_certificates_are_renewed_under_load(lab: Lab) -> None:
    """Nobody is disconnected; who comes later sees the new one; a damaged one changes nothing.

    The redis sink writes by TLS meanwhile.
    """
    pair, mirror = lab.authority.issue(days=3), lab.master(PROGRAM, "mirror", tls=True)
    master = lab.master(PROGRAM, tls=True)
    load = Load(master, features=master.flavour.features)
    files = lab.authority.issue().options("tls_")
    own = ",".join(f"{name}={value}" for name, value in files.items())
    target = f"redis:rediss://127.0.0.1:{mirror.tls_port},{own},commit_seconds=0.05"
    relay = lab.relay(master, tls=pair, sink=target)
    replica = lab.server(PROGRAM, "replica", upstream=relay, tls=True)
    with load:
        replica.wait_link()
        assert "listen: the certificate in" in relay.log  # it expires soon
        lab.authority.issue(days=90, into=pair)
        _reload(relay, "listen TLS: reloaded")
        wait_for("the other side", lambda: "upstream TLS: reloaded" in relay.log)
        later = lab.server(PROGRAM, "later", upstream=relay, tls=True)
        later.wait_link()
        pair.key_file.write_text("damage")
        _reload(relay, "listen TLS: not reloaded, the old one stays in use")
        again = lab.server(PROGRAM, "again", upstream=relay, tls=True)
        again.wait_link()
    for copy in (replica, later, again):
        wait_same(master, copy)
    assert replica.full_syncs_received == 1
    assert (master.syncs.full, master.syncs.partial_ok) == (1, 0)
    assert relay.syncs.full == 3
    ends = {one["side"]: one["expires_at"] for one in relay.status()["certificates"]}
    assert set(ends) == {"listen", "upstream"}
    assert all(abs(end - time.time() - 90 * 86400) < 3600 for end in ends.values())
    metrics = relay.get("/metrics").read().decode()
    assert 'repltap_tls_certificate_expiry_timestamp_seconds{side="listen"}' in metrics
    wait_for("the mirror", lambda: mirror.call("DBSIZE") > 1)
    key = "repltap:checkpoint:redis"
    wait_for("its place", lambda: _place(mirror, key) >= master.offset)

    def same() -> bool:  # keys go on expiring, here by the mirror's clock
        mirror.call("DEL", key)
        return mirror.digest() == master.digest()

    wait_for("the mirror holds the same", same)


def _place(mirror: Server, key: str) -> int:
    found = json.loads(mirror.call("GET", key) or b"{}")
    return int(json.loads(found.get("place", "{}")).get("offset", 0))


def test_clients_and_a_relay_below_by_tls_alone(lab: Lab) -> None:
    """No port without TLS; redis-py, redis-cli and another relay come in."""
    master = lab.master(PROGRAM, tls=True)
    load = Load(master, features=master.flavour.features)
    load.write(150)
    relay = lab.relay(master, tls=True, listen="off")
    below = lab.relay(relay, "below", tls=True)
    wait_for("the relay below", lambda: below.link_up)
    with pytest.raises(ConnectionRefusedError):
        relay.client()
    mine = lab.authority.issue()
    with redis.Redis(
        port=relay.tls_port,
        ssl=True,
        ssl_ca_certs=str(mine.ca_file),
        ssl_certfile=str(mine.cert_file),
        ssl_keyfile=str(mine.key_file),
    ) as client:
        assert client.ping()
        info = client.info("server")
        assert (info["tcp_port"], info["listener0"]["name"]) == (relay.tls_port, "tls")
        assert client.config_get("tls-port")["tls-port"] == str(relay.tls_port)
    if (program := cli()) is not None:
        files = {"cert": mine.cert_file, "key": mine.key_file, "cacert": mine.ca_file}
        flags = [word for name, file in files.items() for word in (f"--{name}", str(file))]
        done = subprocess.run(
            [program, "-p", str(relay.tls_port), "--tls", *flags, "PING"],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=True,
        )
        assert done.stdout == "PONG\n"
    replica = lab.server(PROGRAM, "replica", upstream=below, tls=True)
    replica.wait_link()
    wait_same(master, replica)
    assert master.syncs.full == 1


def test_a_failover_keeps_tls_and_the_data(lab: Lab) -> None:
    """A replica is promoted and the relay re-pointed by its port with TLS: one partial resync."""
    master = lab.master(PROGRAM, tls=True)
    other = lab.server(PROGRAM, "other", upstream=master, tls=True)
    load = Load(master, features=master.flavour.features)
    load.write(150)
    relay = lab.relay(master, tls=True)
    replica = lab.server(PROGRAM, "replica", upstream=relay, tls=True)
    for node in (other, relay, replica):
        node.wait_link()
    master.keep_quiet()  # the relay may not be ahead of who is promoted
    wait_same(master, other, replica)
    other.call("REPLICAOF", "NO", "ONE")
    master.follow(other)
    relay.follow(other)
    load = Load(other, features=master.flavour.features)
    load.write(150)
    wait_same(other, replica, master)
    assert other.replicas()[0]["state"] == "online"
    assert (other.syncs.full, relay.syncs.full, replica.full_syncs_received) == (0, 1, 1)
    assert relay.status()["upstream"]["port"] == other.tls_port
