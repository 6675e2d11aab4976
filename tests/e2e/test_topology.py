"""Many replicas, chains of relays, and replicas that move between them and the master."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

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
            replica.wait_link(40)
    wait_same(master, *replicas)
    assert master.syncs.full == 1
    assert [r.full_syncs_received for r in replicas] == [1] * 20


def test_replica_moves_between_master_and_relays_under_load(lab: Lab) -> None:
    """Same replid, same offsets: each move is a partial sync, wherever it goes."""
    master = lab.master(PROGRAM)
    load = Load(master, features=master.flavour.features)
    load.write(200)
    one, two = lab.middle(master, "one"), lab.middle(master, "two")
    replica = lab.server(PROGRAM, "replica", upstream=master)
    for node in (one, two, replica):
        node.wait_link()
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
