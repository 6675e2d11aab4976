"""The relay is killed at random moments and loses nothing."""

from __future__ import annotations

import random
import time

import pytest

from tests.servers.dataset import wait_same
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.waiting import wait_for


@pytest.mark.relay_only
def test_twenty_kills_under_load_cost_partial_syncs_only(lab: Lab) -> None:
    """kill -9, start again: master and replica continue from where the journal ends."""
    master = lab.master("redis-7.0")
    load = Load(master, features=master.flavour.features, pause_seconds=0.001)
    load.write(300)
    relay = lab.relay(master)
    relay.wait_link()
    # The replica talks to us at once when we are back, rather than at its next tick only.
    replica = lab.server("redis-7.0", "replica", upstream=relay)
    replica.wait_link()
    relay.wait_stored()
    moments = random.Random(20)
    with load:
        for round_number in range(20):
            # Real time on purpose: the moment of the kill is what is random here. Some are
            # before the link is up again, most under load.
            if round_number % 4:
                relay.wait_link()
            time.sleep(moments.uniform(0, 0.5))
            relay.kill()
            relay.start()
        relay.wait_ready()
        wait_for("both links are up", lambda: relay.link_up and replica.link_up)
    wait_same(master, replica)
    assert master.syncs.full == 1
    assert master.syncs.partial_ok >= 15
    assert replica.full_syncs_received == 1


@pytest.mark.relay_only
def test_kill_while_the_first_snapshot_arrives(lab: Lab) -> None:
    """An intake that was not finished is dropped and done again."""
    # Much longer than it takes to see that it has begun; the kill ends it.
    master = lab.master("redis-7.0", rdb_key_save_delay=50_000, rdbcompression="no")
    Load(master, features=master.flavour.features).write(150)
    relay = lab.relay(master)
    replica = lab.server("redis-7.0", "replica", upstream=relay)
    wait_for("the snapshot arrives", lambda: relay.running and relay.status()["upstream"]["sync"])
    relay.kill()
    master.call("CONFIG", "SET", "rdb-key-save-delay", 0)
    relay.restart()
    replica.wait_link()
    wait_same(master, replica)


@pytest.mark.relay_only
def test_stop_is_ordered_and_loses_nothing(lab: Lab) -> None:
    """SIGTERM ends it with code 0; the master is asked only for what came meanwhile."""
    master = lab.master("redis-7.0")
    load = Load(master, features=master.flavour.features)
    relay = lab.relay(master)
    replica = lab.server("redis-7.0", "replica", upstream=relay)
    replica.wait_link()
    with load:
        for _ in range(3):
            relay.wait_link()
            assert relay.stop() == 0
            relay.restart()
        relay.wait_link()
    wait_same(master, replica)
    assert (master.syncs.full, replica.full_syncs_received) == (1, 1)
