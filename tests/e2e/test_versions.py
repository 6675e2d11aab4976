"""Each version above each version below: full sync, partial sync, every data type, equal data."""

from __future__ import annotations

import pytest

from tests.servers.dataset import wait_same
from tests.servers.find import ALL_NAMES, Feature, flavours
from tests.servers.lab import Lab, flavour
from tests.servers.load import Load
from tests.servers.node import Node
from tests.servers.server import Server
from tests.servers.waiting import wait_for

MASTERS = tuple(name for name in ALL_NAMES if name != "valkey-8.1")


@pytest.mark.parametrize("diskless", ["yes", "no"], ids=["diskless", "disk"])
@pytest.mark.parametrize("master_name", MASTERS)
def test_full_and_partial_sync(lab: Lab, master_name: str, diskless: str) -> None:
    """Every version that may follow this master does, through the middle, all at once."""
    kind = flavour(master_name)
    followers = [f for f in flavours().values() if f.can_follow(kind) and f.vendor == kind.vendor]
    if kind.rdb_version <= 11:
        followers = [f for f in flavours().values() if f.can_follow(kind)]
    master = lab.master(kind, repl_diskless_sync=diskless)
    load = Load(master, features=kind.features, seed=7)
    load.write(150)
    middle = lab.middle(master)
    replicas = [lab.server(f, f.name, upstream=middle) for f in followers]
    _check_syncs(master, middle, replicas, load)


@pytest.mark.parametrize("diskless", ["yes", "no"], ids=["diskless", "disk"])
@pytest.mark.relay_only
def test_valkey_above_redis_and_valkey(lab: Lab, diskless: str) -> None:
    """Valkey 9 sends an RDB that Redis loads to whom does not say that it is Valkey 9."""
    master = lab.master("valkey-9.1", repl_diskless_sync=diskless)
    load = Load(master, features=[Feature.FUNCTIONS], seed=8)
    load.write(150)
    relay = lab.relay(master)
    names = ("redis-8.2", "valkey-8.1", "valkey-9.1")
    replicas = [lab.server(name, name, upstream=relay) for name in names]
    _check_syncs(master, relay, replicas, load, full=2)


LOADERS: tuple[tuple[str, dict[str, str]], ...] = (
    ("redis-6.2", {"repl_diskless_load": "swapdb"}),
    ("redis-7.0", {"repl_diskless_load": "on-empty-db"}),
    ("redis-7.0", {"repl_diskless_load": "swapdb"}),
    ("redis-8.2", {"repl_diskless_load": "swapdb"}),
    ("valkey-8.1", {"dual_channel_replication_enabled": "yes"}),
    ("valkey-9.1", {"dual_channel_replication_enabled": "yes"}),
    ("valkey-9.1", {"repl_diskless_load": "flush-before-load"}),
)


def test_loaders_that_ask_for_more(lab: Lab) -> None:
    """Replicas that parse while they receive, or offer two channels, are served as the others."""
    master = lab.master("redis-6.2")
    load = Load(master, seed=11)
    load.write(100)
    middle = lab.middle(master)
    replicas = [
        lab.server(name, f"{name}-{i}", upstream=middle, **options)  # type: ignore[arg-type]
        for i, (name, options) in enumerate(LOADERS)
        if name in flavours()
    ]
    _check_syncs(master, middle, replicas, load)


def _check_syncs(
    master: Server, middle: Node, replicas: list[Server], load: Load, full: int = 1
) -> None:
    load.write(150)
    for replica in replicas:
        replica.wait_link()
    wait_same(master, *replicas)
    assert master.syncs.full <= full, "the master had to make more snapshots than needed"
    assert [r.full_syncs_received for r in replicas] == [1] * len(replicas)

    middle.drop_replicas()
    load.write(50)
    wait_for(
        "each replica has come back by a partial sync",
        lambda: all(r.partial_syncs_received >= 1 and r.link_up for r in replicas),
    )
    master.drop_replicas()
    load.write(50)
    wait_same(master, *replicas)
    assert [r.full_syncs_received for r in replicas] == [1] * len(replicas)
    assert master.syncs.full <= full
    assert master.syncs.partial_ok >= 1
