"""Many replicas, chains of relays, and replicas that move between them and the master."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.servers.dataset import wait_same
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.node import Node
from tests.servers.server import Server
from tests.servers.waiting import wait_for

PROGRAM = "redis-7.0"


def test_twenty_replicas_at_once_cost_one_full_sync(lab: Lab) -> None:
    """All ask before the first snapshot is there; the master makes it once."""
    master = lab.master(PROGRAM, repl_diskless_sync_delay=1)
    load = Load(master, features=master.flavour.features)
    load.write(300)
    replicas = [lab.server(PROGRAM, f"replica-{i}") for i in range(20)]
    for replica in replicas:
        replica.wait_ready()
    middle = lab.middle(master)
    middle.wait_ready()
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda replica: replica.follow(middle), replicas))
    with load:
        for replica in replicas:
            replica.wait_link()
    wait_same(master, *replicas)
    assert master.syncs.full == 1
    assert [r.full_syncs_received for r in replicas] == [1] * 20


@pytest.mark.relay_only
def test_replica_moves_between_master_and_relays_under_load(lab: Lab) -> None:
    """Same replid, same offsets: each move is a partial sync, wherever it goes.

    A chained server does a full sync when the replica is a moment ahead of it; the relay waits.
    """
    master = lab.master(PROGRAM)
    load = Load(master, features=master.flavour.features)
    load.write(200)
    one, two = lab.middle(master, "one"), lab.middle(master, "two")
    replica = lab.server(PROGRAM, "replica", upstream=master)
    for node in (one, two, replica):
        node.wait_link()
    wait_same(master, replica)  # past where the journals begin
    full = master.syncs.full
    with load:
        for place in (one, two, master, two, one, master):
            _move(replica, place, load)
    wait_same(master, replica)
    assert (master.syncs.full, master.syncs.partial_ok) == (full, 2)
    for middle in (one, two):
        assert (middle.syncs.full, middle.syncs.partial_ok) == (0, 2)
    assert replica.full_syncs_received == 1


def _move(replica: Server, place: Node, load: Load) -> None:
    """Re-point a replica and see it grow by what was written afterwards."""
    replica.follow(place)
    written = load.written
    wait_for("the load goes on", lambda: load.written > written + 200)
    goal = place.offset
    wait_for(
        f"the replica grows below {place.name}", lambda: replica.link_up and replica.offset >= goal
    )


def test_relay_below_relay(lab: Lab) -> None:
    """Offsets and replid are the master's all the way down, and so is the data."""
    master = lab.master(PROGRAM)
    load = Load(master, features=master.flavour.features)
    load.write(200)
    upper = lab.middle(master, "upper")
    lower = lab.middle(master, "lower", upstream=upper)
    replicas = [lab.server(PROGRAM, f"replica-{i}", upstream=lower) for i in range(2)]
    with load:
        for replica in replicas:
            replica.wait_link()
        upper.drop_replicas()
        lower.drop_replicas()
        for node in (lower, *replicas):
            node.wait_link()
    wait_same(master, *replicas)
    assert master.syncs.full == 1
    assert upper.syncs.full == 1
    assert [r.full_syncs_received for r in replicas] == [1, 1]
    assert {node.replid for node in (upper, lower, *replicas)} == {master.replid}


def test_damage_below_a_relay_costs_the_master_nothing(lab: Lab) -> None:
    """Found by the soak: the lower relay passed on a snapshot that its journal did not go on from.

    The upper one has its first snapshot still, and all that followed: that is what is fetched.
    """
    master = lab.master(PROGRAM)
    load = Load(master, features=master.flavour.features)
    load.write(200)
    upper = lab.relay(master, "upper")
    lower = lab.relay(upper, "lower", store_segment_bytes="64kb")
    streaming = lab.server(PROGRAM, "streaming", upstream=lower)
    streaming.wait_link()
    wait_for("the lower one's snapshot", lower.snapshots)
    for _ in range(4):
        master.call("SET", "a segment", "x" * (64 << 10))
        load.write(20)
    wait_same(master, streaming)
    lower.stop()
    second = sorted(lower.data_dir.glob("histories/*/journal/*.seg"))[1]
    with second.open("r+b") as damaged:
        damaged.write(b"\0")
    lower.restart()
    wait_for("the damage is found", lambda: "is given up" in lower.log)
    wait_for("the snapshot goes with it", lambda: not lower.snapshots())
    streaming.wait_link()
    fresh = [lab.server(PROGRAM, f"fresh-{i}", upstream=lower) for i in range(2)]
    with load:
        for replica in (streaming, *fresh):
            replica.wait_link()
    wait_same(master, streaming, *fresh)
    assert master.syncs.full == 1
    assert [r.full_syncs_received for r in (streaming, *fresh)] == [1, 1, 1]
    assert lower.log.count("gives a full resync") == 2
    assert {node.replid for node in (upper, lower, streaming, *fresh)} == {master.replid}
    assert [s["offset"] for s in lower.snapshots()] == [s["offset"] for s in upper.snapshots()]


def test_middle_below_a_native_replica(lab: Lab) -> None:
    """A chained upstream selects no database for us: the snapshot's `repl-stream-db` says which."""
    master = lab.master(PROGRAM)
    load = Load(master, features=master.flavour.features)
    native = lab.server(PROGRAM, "native", upstream=master)
    native.wait_link()
    load.write(100)
    with master.client() as client:
        client.call("SELECT", 7)
        client.call("SET", "before", "the snapshot")
        wait_same(master, native)
        middle = lab.middle(master, upstream=native)
        replica = lab.server(PROGRAM, "replica", upstream=middle)
        replica.wait_link()
        client.call("SET", "after", "the snapshot")
    wait_same(master, native, replica)


def test_wait_counts_the_relay(lab: Lab) -> None:
    """It answers GETACK at once, so WAIT on the master and on a busy link is quick."""
    master = lab.master(PROGRAM)
    middle = lab.middle(master)
    middle.wait_link()
    wait_for("the master lists it", lambda: [r["state"] for r in master.replicas()] == ["online"])
    with master.client() as client:
        client.call("SET", "key", "first")
        assert client.call("WAIT", 1, 50_000) == 1  # opens the stream of a diskless sync
        took = []
        for number in range(20):
            client.call("SET", "key", number)
            asked = time.monotonic()
            assert client.call("WAIT", 1, 50_000) == 1
            took.append(time.monotonic() - asked)
    # Who acknowledges once a second only takes a second each time, as each begins with an ACK.
    assert sorted(took)[4] < 0.5


@pytest.mark.relay_only
def test_replicas_are_served_while_the_master_is_gone(lab: Lab) -> None:
    """Full sync from the stored snapshot and the journal, also after a restart of the relay."""
    master = lab.master(PROGRAM)
    load = Load(master, features=master.flavour.features)
    load.write(150)
    relay = lab.relay(master)
    early = lab.server(PROGRAM, "early", upstream=relay)
    early.wait_link()
    load.write(100)
    wait_same(master, early)
    master.kill()
    wait_for("the relay has noticed", lambda: not relay.link_up)
    late = lab.server(PROGRAM, "late", upstream=relay)
    late.wait_link()
    wait_for("all of it is on the disk", lambda: relay.durable_offset == early.offset)
    relay.kill()
    relay.restart()
    later = lab.server(PROGRAM, "later", upstream=relay)
    for replica in (early, late, later):
        replica.wait_link()
    wait_same(early, late, later)
    assert early.full_syncs_received == 1


@pytest.mark.relay_only
def test_frozen_replica_is_waited_for(lab: Lab) -> None:
    """The journal is kept for a replica that lags, and deleted once it has caught up."""
    master = lab.master(PROGRAM)
    relay = lab.relay(master, store_retain_bytes="1mb", store_segment_bytes="256kb")
    slow = lab.server(PROGRAM, "slow", upstream=relay)
    slow.wait_link()
    wait_same(master, slow)
    slow.freeze()
    with master.client() as client:
        for number in range(400):
            client.call("SET", number % 10, "x" * 50_000)
    wait_for("the relay has it all", lambda: relay.offset == master.offset)
    slow.thaw()
    wait_same(master, slow)
    assert (slow.full_syncs_received, master.syncs.full) == (1, 1)
    new = lab.server(PROGRAM, "new", upstream=relay)
    new.wait_link()
    wait_same(master, new, slow)
    assert slow.full_syncs_received == 1


@pytest.mark.relay_only
def test_replica_beyond_the_pin_limit_is_dropped(lab: Lab) -> None:
    """Past the limit the replica is given up, the disk is not; it comes back by a full sync."""
    master = lab.master(PROGRAM)
    relay = lab.relay(
        master,
        store_retain_bytes="1mb",
        store_pin_limit_bytes="4mb",
        store_segment_bytes="256kb",
    )
    slow = lab.server(PROGRAM, "slow", upstream=relay)
    slow.wait_link()
    wait_same(master, slow)
    slow.freeze()
    with master.client() as client:
        for number in range(600):
            client.call("SET", number % 10, "x" * 50_000)
    wait_for("the relay has dropped it", lambda: not relay.status()["replicas"])
    wait_for(
        "the disk is given back",
        lambda: relay.status()["journal"]["disk_bytes"] < 8 << 20,
    )
    slow.thaw()
    wait_same(master, slow)
    assert slow.full_syncs_received == 2
