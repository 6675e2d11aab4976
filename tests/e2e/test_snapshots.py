"""Snapshots that are fetched anew: when, for whom, what it costs the master, and never wrong data.

A second connection fetches them while the main link goes on; replicas may be sent one while it
still arrives. After each test the datasets are equal and the master's `sync_full` is accounted for.
"""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from tests.bench.crowd import Crowd
from tests.servers import bulk
from tests.servers.dataset import wait_same
from tests.servers.find import Feature
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.proxy import Weather
from tests.servers.relay import Relay
from tests.servers.server import Server
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.relay_only

TAIL_BYTES = 200_000
LONG_TAIL_BYTES = 8 << 20
"""More than the load writes while several servers start, however long that takes."""


def _refreshes(relay: Relay) -> dict[str, int]:
    return dict(relay.status()["counters"]["snapshot_refreshes_by_reason"])


def _outgrow(load: Load, relay: Relay) -> None:
    """Write until the tail of the stored snapshot is too long."""
    while relay.snapshots()[0]["tail_bytes"] <= TAIL_BYTES:
        load.write(60)


def _slow_snapshots(master: Server, pause_ms: int = 3) -> None:
    """Make each further snapshot take seconds: 1500 real keys, each with a pause."""
    with master.client() as client:
        client.pipeline(("SET", f"slow:{i}", f"{i}-" * 300) for i in range(1_500))
    master.call("CONFIG", "SET", "rdb-key-save-delay", 1_000 * pause_ms)
    master.call("CONFIG", "SET", "rdbcompression", "no")  # so that it comes in many pieces


def _stocked(lab: Lab, program: str, **options: str | int) -> tuple[Server, Relay, Load]:
    """Start a master with all kinds of data, and a relay that has its snapshot."""
    master = lab.master(program)
    # A replica of Redis 7.4 to 8.2 that lags loses hash fields (docs/limits.md): an old snapshot,
    # which these tests are about, is such a lag.
    features = master.flavour.features - {Feature.HASH_TTL}
    load = Load(master, features=features, seed=31, pause_seconds=0.01)
    load.write(150)
    relay = lab.relay(master, **options)
    wait_for("the first snapshot", relay.snapshots)
    return master, relay, load


@pytest.mark.parametrize("program", ["redis-6.2", "redis-7.0", "redis-8.2", "valkey-9.1"])
def test_a_long_tail_costs_one_refresh_for_all(lab: Lab, program: str) -> None:
    """While writes go on: the snapshot meets the journal at its offset."""
    master, relay, load = _stocked(lab, program, snapshot_max_tail_bytes=LONG_TAIL_BYTES)
    early = lab.server(program, "early", upstream=relay)
    early.wait_link()
    assert _refreshes(relay) == {}
    bulk.write(master, 9)
    wait_for("a long tail", lambda: relay.snapshots()[0]["tail_bytes"] > LONG_TAIL_BYTES)
    connects = relay.status()["upstream"]["connects"]
    offset = relay.snapshots()[0]["offset"]
    with load:
        replicas = [lab.server(program, f"replica-{i}", upstream=relay) for i in range(3)]
        for replica in replicas:
            replica.wait_link()
    wait_same(master, early, *replicas)
    assert _refreshes(relay) == {"tail": 1}
    assert master.syncs.full == 2
    assert early.full_syncs_received == 1
    assert relay.status()["upstream"]["connects"] == connects
    assert relay.snapshots()[0]["offset"] > offset + LONG_TAIL_BYTES


@pytest.mark.parametrize("diskless", ["yes", "no"], ids=["diskless", "disk"])
@pytest.mark.parametrize("program", ["redis-7.0", "valkey-9.1"])
def test_who_waits_is_sent_it_while_it_arrives(lab: Lab, program: str, diskless: str) -> None:
    master = lab.master(program, repl_diskless_sync=diskless, rdbcompression="no")
    load = Load(master, seed=34)
    with master.client() as client:
        client.pipeline(("SET", f"big:{i}", f"{i}-" * 3_000) for i in range(300))
    proxy = lab.proxy(master)
    relay = lab.relay(proxy, snapshot_max_tail_bytes=TAIL_BYTES)
    wait_for("the first snapshot", relay.snapshots)
    _outgrow(load, relay)
    proxy.weather.bytes_per_second = 100_000  # until all three have come
    with load:
        replicas = [lab.server(program, f"replica-{i}", upstream=relay) for i in range(3)]
        seen: dict[str, Any] = wait_for(
            "replicas that receive what arrives",
            lambda: (shown := relay.status()["refresh"]) and shown["receivers"] == 3 and shown,
        )
        assert seen["reason"] == "tail"
        proxy.weather.bytes_per_second = 0
        for replica in replicas:
            replica.wait_link()
    wait_same(master, *replicas)
    assert "3 replicas were sent it while it arrived" in relay.log
    assert _refreshes(relay) == {"tail": 1}
    assert master.syncs.full == 2
    assert [replica.full_syncs_received for replica in replicas] == [1, 1, 1]


def test_the_old_one_is_sent_while_the_master_is_away(lab: Lab) -> None:
    master, relay, load = _stocked(lab, "redis-7.0", snapshot_max_tail_bytes=TAIL_BYTES)
    before = lab.server("redis-7.0", "before", upstream=relay)
    before.wait_link()
    _outgrow(load, relay)
    wait_same(master, before)
    master.kill()
    wait_for("the relay has noticed", lambda: not relay.link_up)
    late = lab.server("redis-7.0", "late", upstream=relay)
    late.wait_link()
    wait_same(before, late)
    assert _refreshes(relay) == {}
    assert relay.snapshots()[0]["tail_bytes"] > TAIL_BYTES


def test_a_schedule_is_kept_with_nobody_asking(lab: Lab) -> None:
    master, relay, load = _stocked(lab, "valkey-9.1", snapshot_refresh_seconds=1)
    with load:
        wait_for("two of them", lambda: _refreshes(relay).get("schedule", 0) >= 2)
    # One may be on its way: the one after it may not begin while we count.
    relay.stop()
    relay.options["snapshot_refresh_seconds"] = "3600"
    before = master.syncs.full
    relay.restart()
    replica = lab.server("valkey-9.1", "replica", upstream=relay)
    replica.wait_link()
    wait_same(master, replica)
    assert master.syncs.full == before
    assert _refreshes(relay) == {}


@pytest.mark.parametrize("old_master", ["dies", "writes on"])
def test_a_failover_during_a_refresh_never_serves_the_old_data(lab: Lab, old_master: str) -> None:
    """What the replica was being sent is of a master that is no more: it must not load it."""
    master, relay, load = _stocked(lab, "redis-7.0", snapshot_max_tail_bytes=TAIL_BYTES)
    heir = lab.server("redis-7.0", "heir", upstream=master)
    heir.wait_link()
    _slow_snapshots(master, pause_ms=10)  # nobody waits for its end
    _outgrow(load, relay)
    # A PING or DEL that the heir does not get would cost a full resync, and that a refresh.
    master.keep_quiet()
    wait_same(master, heir)
    replica = lab.server("redis-7.0", "replica", upstream=relay)
    wait_for(
        "the replica receives what arrives",
        lambda: (shown := relay.status()["refresh"]) and shown["receivers"] == 1,
    )
    heir.call("REPLICAOF", "NO", "ONE")
    if old_master == "dies":
        master.kill()
    else:
        load.write(150)  # which the heir never sees, and the relay does
    relay.follow(heir)
    Load(heir, features=heir.flavour.features, seed=32).write(150)
    replica.wait_link()
    wait_same(heir, replica)
    assert heir.syncs.full <= (1 if old_master == "dies" else 2)


class _Ignorant(Weather):
    """Between the relay and its master: the master is never asked for `rdb-only`."""

    def send(self, target: socket.socket, data: bytes) -> None:
        super().send(target, data.replace(b"rdb-only", b"rdb-none"))


@pytest.mark.parametrize("diskless", ["yes", "no"], ids=["diskless", "disk"])
def test_a_master_that_does_not_know_rdb_only(lab: Lab, diskless: str) -> None:
    """The second connection is a replica to it for as long as its snapshot takes, then it is gone.

    Every tested version knows `rdb-only`, 6.2 too; the proxy makes this one refuse it.
    """
    master = lab.master("redis-6.2", repl_diskless_sync=diskless)
    load = Load(master, seed=33)
    load.write(150)
    proxy = lab.proxy(master)
    proxy.weather = _Ignorant()
    relay = lab.relay(proxy, snapshot_max_tail_bytes=TAIL_BYTES)
    wait_for("the first snapshot", relay.snapshots)
    _slow_snapshots(master)
    _outgrow(load, relay)
    before = relay.status()["upstream"]
    with load:
        replica = lab.server("redis-6.2", "replica", upstream=relay)
        wait_for("it is listed", lambda: len(master.replicas()) == 2)
        replica.wait_link()
        wait_for("it is listed no longer", lambda: len(master.replicas()) == 1)
    wait_same(master, replica)
    after = relay.status()["upstream"]
    assert (after["connects"], after["disconnects"]) == (before["connects"], 0)
    assert _refreshes(relay) == {"tail": 1}
    assert (master.syncs.full, master.syncs.partial_err) == (2, 0)
    assert master.replicas()[0]["state"] == "online"


# -- many at once, and slowly ----------------------------------------------------------------------


def _fill(master: Server, megabytes: int) -> None:
    """Write what does not compress, in values of 10 kB."""
    master.call("CONFIG", "SET", "rdbcompression", "no")
    with master.client() as client:
        for i in range(megabytes):
            client.pipeline(("SET", f"fill:{i}:{j}", f"{i}{j}-" * 2_500) for j in range(100))


def _shown_states(relay: Relay) -> dict[str, int]:
    replicas = relay.status()["replicas"]
    states = [replica["state"] for replica in replicas]
    waiting = [r["queue_position"] for r in replicas if r["queue_position"] is not None]
    assert sorted(waiting) == list(range(1, len(waiting) + 1))
    return {state: states.count(state) for state in ("wait_bgsave", "send_bulk", "online")}


def test_a_herd_of_a_hundred(lab: Lab) -> None:
    """All at once, five of them real servers: one fork, so many transfers at a time, equal data."""
    master = lab.master("redis-7.0")
    load = Load(master, features=master.flavour.features, seed=41)
    load.write(200)
    _fill(master, 3)
    relay = lab.relay(master, listen_max_transfers=8, listen_total_rate_bytes="80mb")
    wait_for("the first snapshot", relay.snapshots)
    with Crowd() as crowd:
        with load:
            real = [lab.server("redis-7.0", f"real-{i}", upstream=relay) for i in range(5)]
            crowd.attach(relay.port, 95, check=True)
            most_sent = most_waiting = 0
            while (now := _shown_states(relay))["online"] < 100:
                most_sent = max(most_sent, now["send_bulk"])
                most_waiting = max(most_waiting, now["wait_bgsave"])
                assert all(node.running for node in lab.nodes)
            for replica in real:
                replica.wait_link()
        crowd.wait_offset(master.offset, 60)
        wait_same(master, *real)
        crowd.wait_offset(master.offset, 60)
        found = crowd.status()
    assert most_sent <= 8
    assert most_waiting > 30
    assert len({(r["offset"], r["snapshot_bytes"], r["checksum"]) for r in found}) == 1
    assert [replica.full_syncs_received for replica in real] == [1] * 5
    assert master.syncs.full == 1
    assert relay.status()["counters"]["sync_full"] == 100
    assert relay.memory_bytes("VmHWM") < 64 << 20


@pytest.mark.parametrize("program", ["redis-6.2", "valkey-9.1"])
def test_a_limited_transfer_takes_its_time_and_is_right(lab: Lab, program: str) -> None:
    """Its partial resync afterwards is like any other."""
    master = lab.master(program)
    _fill(master, 4)
    load = Load(master, features=master.flavour.features, seed=42)
    relay = lab.relay(master, listen_transfer_rate_bytes="2mb")
    wait_for("the first snapshot", relay.snapshots)
    with load:
        begun = time.monotonic()
        first = lab.server(program, "first", upstream=relay)
        first.wait_link()
        assert time.monotonic() - begun >= 1.5  # it can't be faster: 4 MB
        connects = relay.status()["upstream"]["connects"]
    wait_same(master, first)
    relay.drop_replicas()
    wait_for("it is back", lambda: first.partial_syncs_received == 1 and first.link_up)
    wait_same(master, first)
    assert relay.status()["upstream"]["connects"] == connects
    assert master.syncs.full == 1
    assert first.full_syncs_received == 1
