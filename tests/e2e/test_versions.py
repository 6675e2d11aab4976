"""Each version above each version below: full sync, partial sync, every data type, equal data.

What is seen is printed at the end of the run, and has to be what docs/compatibility.md says.
"""

from __future__ import annotations

import pytest

from tests.servers.dataset import wait_same
from tests.servers.find import ALL_NAMES, Feature, Flavour, flavours
from tests.servers.lab import MIDDLE, Lab, flavour
from tests.servers.load import Load
from tests.servers.matrix import (
    ADAPTED,
    DOCUMENT,
    FULL,
    REFUSED,
    TUNNEL,
    Note,
    documented_table,
    label,
    label_of,
    note,
)
from tests.servers.node import Node
from tests.servers.relay import REPOSITORY
from tests.servers.server import Server
from tests.servers.waiting import wait_for

TABLE = "Servers"
TLS_TABLE = "Servers over TLS"
MODES = pytest.mark.parametrize("diskless", ["yes", "no"], ids=["diskless", "disk"])
_REFUSALS = ("Can't handle RDB format version", "Wrong signature trying to load", "Fatal error")


def _followers(master: Flavour) -> list[Flavour]:
    """Which present servers can load what this one writes by itself."""
    found = [f for f in flavours().values() if f.can_follow(master)]
    # Valkey 9 writes another format for who says that it is no Valkey 9: a second snapshot.
    return [f for f in found if f.vendor == "valkey"] if master.rdb_version == 80 else found


def _adapted(master: Flavour) -> list[Flavour]:
    """Which others can load what it writes when it is asked for an older format."""
    own = _followers(master)
    return [f for f in flavours().values() if f.can_follow(master) and f not in own] + (
        [f for f in flavours().values() if f.name == "valkey-8.1"]
        if master.rdb_version == 80
        else []
    )


@MODES
@pytest.mark.parametrize("master_name", ALL_NAMES)
def test_full_and_partial_sync(
    lab: Lab, master_name: str, diskless: str, record_property: Note
) -> None:
    """Every version that may follow this master does, through the middle, all at once."""
    kind = flavour(master_name)
    followers = _followers(kind)
    master = lab.master(kind, repl_diskless_sync=diskless)
    load = Load(master, features=kind.features, seed=7)
    load.write(150)
    middle = lab.middle(master)
    replicas = [lab.server(f, f.name, upstream=middle) for f in followers]
    _check_syncs(master, middle, replicas, load)
    if MIDDLE == "relay":
        note(record_property, TABLE, label(kind), {label(f): FULL for f in followers})


@MODES
@pytest.mark.relay_only
def test_valkey_above_redis_and_valkey(lab: Lab, diskless: str, record_property: Note) -> None:
    """Valkey 9 sends an RDB that Redis loads to whom does not say that it is Valkey 9."""
    kind = flavour("valkey-9.1")
    master = lab.master(kind, repl_diskless_sync=diskless)
    load = Load(master, features=[Feature.FUNCTIONS], seed=8)
    load.write(150)
    relay = lab.relay(master)
    adapted = _adapted(kind)
    replicas = [lab.server(f, f.name, upstream=relay) for f in (*adapted, kind)]
    _check_syncs(master, relay, replicas, load, full=2)
    note(record_property, TABLE, label(kind), {label(f): ADAPTED for f in adapted})


@MODES
@pytest.mark.relay_only
@pytest.mark.parametrize("master_name", ALL_NAMES)
def test_full_and_partial_sync_over_tls(
    lab: Lab, master_name: str, diskless: str, record_property: Note
) -> None:
    """The same with TLS and certificates of both sides on both links."""
    kind = flavour(master_name)
    followers = [*_followers(kind), *_adapted(kind)]
    features = {Feature.FUNCTIONS} if _adapted(kind) else {*kind.features}
    master = lab.master(kind, tls=True, repl_diskless_sync=diskless)
    load = Load(master, features=features, seed=6)
    load.write(100)
    relay = lab.relay(master, tls=True)
    replicas = [lab.server(f, f.name, upstream=relay, tls=True) for f in followers]
    _check_syncs(master, relay, replicas, load, full=2 if _adapted(kind) else 1)
    cells = {label(f): FULL if Feature.TLS in f.features else TUNNEL for f in followers}
    if Feature.TLS not in kind.features:
        cells = dict.fromkeys(cells, TUNNEL)
    note(record_property, TLS_TABLE, label(kind), cells)


@pytest.mark.relay_only
@pytest.mark.parametrize("master_name", ALL_NAMES)
def test_what_no_server_can_load(lab: Lab, master_name: str, record_property: Note) -> None:
    """A downstream that is too old fails below the relay as it does below the master itself."""
    kind = flavour(master_name)
    able = {*_followers(kind), *_adapted(kind)}
    refused = [f for f in flavours().values() if f not in able]
    master = lab.master(kind)
    # With hash field TTLs Valkey 9 writes nothing at all for these: they would wait for ever.
    Load(master, features=kind.features - {Feature.HASH_TTL}, seed=9).write(100)
    relay = lab.relay(master)
    relay.wait_link()
    below = [lab.server(f, f"{f.name}-below-relay", upstream=relay) for f in refused]
    native = [lab.server(f, f"{f.name}-below-master", upstream=master) for f in refused]
    for server in (*native, *below):
        # A Valkey says its version: the relay says for it that nothing it has can be loaded.
        version = ".".join(map(str, server.flavour.version))
        useless = f"of no use to a replica that announces version {version}"
        wait_for(
            f"{server.name} refuses it",
            lambda s=server, u=useless: (  # type: ignore[misc]
                any(text in s.log for text in _REFUSALS) or (s in below and u in relay.log)
            ),
        )
    for server in (*native, *below):
        assert server.full_syncs_received == 0, server.name
        server.kill()
    note(record_property, TABLE, label(kind), {label(f): REFUSED for f in refused})
    healthy = lab.server(kind, "healthy", upstream=relay)
    healthy.wait_link()
    wait_same(master, healthy)


def test_the_documented_table_is_whole() -> None:
    """Each known server is a row and a column of it, and the README shows the same."""
    table = documented_table(TABLE)
    names = {label_of(name) for name in ALL_NAMES}
    assert names <= table.keys()
    assert all(names <= row.keys() for row in table.values())
    cells = {cell for row in table.values() for cell in row.values()}
    assert cells <= {FULL, ADAPTED, REFUSED}
    tls = documented_table(TLS_TABLE)
    for row, cells in table.items():
        assert [c == REFUSED for c in cells.values()] == [c == REFUSED for c in tls[row].values()]
    readme = (REPOSITORY / "README.md").read_text()
    assert documented_table("Compatibility", readme) == table, (
        f"README.md and {DOCUMENT.name} differ"
    )


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
    if master.flavour.name == "redis-8.2":
        master.call("VADD", "a vector set", "VALUES", 3, "0.1", "0.2", "0.3", "one")
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
