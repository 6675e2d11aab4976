"""What masters do: hang, restart, come back as somebody else, be replaced.

A native replica beside the relay is the oracle: what it costs the master, the relay may cost.
"""

from __future__ import annotations

import hiredis
import pytest

from tests.servers.client import call
from tests.servers.dataset import wait_same
from tests.servers.find import Feature
from tests.servers.lab import Lab, flavour
from tests.servers.load import Load
from tests.servers.node import Node
from tests.servers.proxy import Action, Direction, Fault
from tests.servers.relay import Relay
from tests.servers.server import Server
from tests.servers.waiting import wait_for

PROGRAM = "redis-7.0"


class _Family:
    """A master, a native replica, a relay, and a replica below the relay."""

    def __init__(self, lab: Lab, program: str = PROGRAM, ping_seconds: int = 10) -> None:
        self.master = lab.master(program, repl_ping_replica_period=ping_seconds)
        self.load = Load(self.master, features=self.master.flavour.features)
        self.load.write(150)
        self.native = lab.server(program, "native", upstream=self.master)
        self.native.wait_link()
        self.middle = lab.middle(self.master)
        self.replica = lab.server(program, "replica", upstream=self.middle)
        self.replica.wait_link()
        self.load.write(100)
        wait_same(self.master, self.native, self.replica)


def _shutdown(master: Server, *arguments: str) -> None:
    """End a server by SHUTDOWN, which answers by closing."""
    with pytest.raises(OSError):
        master.call("SHUTDOWN", *arguments)
    master.wait()


def test_stalled_master(lab: Lab) -> None:
    """A master that hangs for longer than the timeout is left, tried again, and continued."""
    family = _Family(lab, ping_seconds=1)
    middle = family.middle
    if isinstance(middle, Server):
        middle.call("CONFIG", "SET", "repl-timeout", 2)
    elif isinstance(middle, Relay):
        middle.stop()
        middle.options["upstream_timeout_seconds"] = 2
        middle.restart()
        middle.wait_link()
    before = family.master.syncs
    with family.load:
        family.master.freeze()
        wait_for("the relay gives the link up", lambda: not middle.link_up)
        family.master.thaw()
        middle.wait_link()
    wait_same(family.master, family.native, family.replica)
    after = family.master.syncs
    assert after.full == before.full
    assert after.partial_ok > before.partial_ok
    assert family.replica.full_syncs_received == 1


def test_short_stall_keeps_the_link(lab: Lab) -> None:
    """A master that hangs for less than the timeout keeps its links."""
    family = _Family(lab)
    before = family.master.syncs
    with family.load:
        family.master.freeze()
        with pytest.raises(TimeoutError):
            call(family.master.port, "PING", timeout_seconds=0.5)
        family.master.thaw()
    wait_same(family.master, family.native, family.replica)
    assert family.master.syncs == before


@pytest.mark.parametrize("program", ["redis-7.0", "redis-8.2", "valkey-9.1"])
def test_master_restart_with_its_replid_kept(lab: Lab, program: str) -> None:
    """SHUTDOWN SAVE keeps the history (7.0 and later): whoever has all of it continues."""
    kind = flavour(program)
    assert Feature.KEEPS_REPLID in kind.features
    family = _Family(lab, program, ping_seconds=3600)
    _shutdown(family.master, "SAVE")
    family.master.restart()
    for node in (family.native, family.middle):
        node.wait_link()
    family.load.write(100)
    wait_same(family.master, family.native, family.replica)
    assert (family.master.syncs.full, family.master.syncs.partial_ok) == (0, 2)
    assert family.replica.full_syncs_received == 1


@pytest.mark.parametrize("program", ["redis-6.2", "redis-7.0"])
def test_master_restart_with_its_replid_lost(lab: Lab, program: str) -> None:
    """A master that was killed, or forgets, is a new history: a full sync for everybody."""
    family = _Family(lab, program)
    if program == "redis-6.2":
        _shutdown(family.master, "SAVE")
    else:
        family.master.kill()
    family.master.restart()
    family.load.write(100)
    for node in (family.native, family.middle, family.replica):
        node.wait_link()
    wait_same(family.master, family.native, family.replica)
    assert family.master.syncs.full == 2
    assert family.replica.full_syncs_received == 2


def _promote(family: _Family, lab: Lab, oracle: Server) -> Server:
    """Kill the master, promote the native replica and point the others at it."""
    family.master.kill()
    new = family.native
    new.call("REPLICAOF", "NO", "ONE")
    for node in (oracle, family.middle):
        node.follow(new)
    return new


def test_failover_continues_below_the_promoted_replica(lab: Lab) -> None:
    """Everybody had everything: nobody needs more than `+CONTINUE <new replid>`."""
    family = _Family(lab, ping_seconds=3600)  # a PING that has come to some only is not everything
    family.master.keep_quiet()  # nor a DEL of what expires
    oracle = lab.server(PROGRAM, "oracle", upstream=family.master)
    oracle.wait_link()
    wait_same(family.master, family.native, oracle, family.replica)
    new = _promote(family, lab, oracle)
    for node in (oracle, family.middle, family.replica):
        _wait_follows(node, new)
    Load(new, features=new.flavour.features, seed=5).write(100)
    wait_same(new, oracle, family.replica)
    assert (new.syncs.full, new.syncs.partial_ok) == (0, 2)
    assert family.replica.full_syncs_received == 1
    assert family.replica.replid == new.replid


def test_failover_to_a_replica_that_lacks_our_last_bytes(lab: Lab) -> None:
    """The relay is ahead of the new master: what it has beyond is nobody's history."""
    master = lab.master(PROGRAM)
    load = Load(master, features=master.flavour.features)
    proxy = lab.proxy(master)
    behind = lab.server(PROGRAM, "behind", upstream=proxy)
    behind.wait_link()
    oracle = lab.server(PROGRAM, "oracle", upstream=master)
    middle = lab.middle(master)
    replica = lab.server(PROGRAM, "replica", upstream=middle)
    load.write(50)
    wait_same(master, oracle, behind, replica)
    proxy.close()
    load.write(50)
    wait_same(master, oracle, replica)
    master.kill()
    behind.call("REPLICAOF", "NO", "ONE")
    for node in (oracle, middle):
        node.follow(behind)
    for node in (oracle, middle, replica):
        _wait_follows(node, behind)
    Load(behind, features=behind.flavour.features, seed=6).write(100)
    wait_same(behind, oracle, replica)
    assert (behind.syncs.full, behind.syncs.partial_ok) == (2, 0)
    assert replica.full_syncs_received == 2


def test_promotion_and_back_keeps_the_replicas(lab: Lab) -> None:
    """REPLICAOF NO ONE above changes the id only: the replica below hears of it by +CONTINUE."""
    family = _Family(lab, ping_seconds=3600)
    family.master.keep_quiet()  # nor a DEL of what expires
    wait_same(family.master, family.native, family.replica)
    top, sub = family.master, family.native
    family.middle.follow(sub)
    _wait_follows(family.middle, sub)
    sub.call("REPLICAOF", "NO", "ONE")
    for node in (family.middle, family.replica):
        _wait_follows(node, sub)
    Load(sub, features=sub.flavour.features, seed=9).write(100)
    wait_same(sub, family.replica)
    assert sub.replid != top.replid
    assert sub.syncs.full == 0
    assert family.replica.full_syncs_received == 1


@pytest.mark.relay_only
def test_failover_that_picks_the_relay_is_refused(lab: Lab) -> None:
    """A bare FAILOVER may choose us: the master stays master, under a new id that we follow."""
    master = lab.master(PROGRAM)
    middle = lab.middle(master)
    replica = lab.server(PROGRAM, "replica", upstream=middle)
    replica.wait_link()
    wait_same(master, replica)
    old = master.replid

    def picked() -> bool:
        try:
            return bool(master.call("FAILOVER", "TIMEOUT", 60_000) == b"OK")
        except hiredis.ReplyError:  # nobody has acknowledged everything yet
            return False

    wait_for("the master starts the failover", picked)
    wait_for("it is master again", lambda: master.replid != old and _is_master(master))
    _wait_follows(middle, master)
    _wait_follows(replica, master)
    master.call("SET", "still", "master")
    wait_same(master, replica)
    assert (master.syncs.full, replica.full_syncs_received) == (1, 1)


def _is_master(node: Node) -> bool:
    info = node.info("replication")
    return info["role"] == "master" and info["master_failover_state"] == "no-failover"


def test_repointed_to_a_stranger(lab: Lab) -> None:
    """REPLICAOF at run time to a master of another history: a full sync all the way down."""
    family = _Family(lab)
    other = lab.master(PROGRAM, "other")
    load = Load(other, features=other.flavour.features, seed=33)
    load.write(150)
    with load:
        family.middle.follow(other)
        for node in (family.middle, family.replica):
            _wait_follows(node, other)
    wait_same(other, family.replica)
    assert (other.syncs.full, family.replica.full_syncs_received) == (1, 2)


@pytest.mark.parametrize("kept", [True, False], ids=["shift", "new-history"])
def test_master_changes_while_a_replica_receives_a_snapshot(lab: Lab, kept: bool) -> None:
    """A replica halfway through our snapshot ends in the data of the master that is there then."""
    family = _Family(lab)
    crawl = Fault(
        direction=Direction.TO_CLIENT, at=b"REDIS00", action=Action.DELAY, count=400, seconds=0.05
    )
    family.middle.drop_replicas()
    slow = lab.server(PROGRAM, "slow", upstream=lab.proxy(family.middle, crawl))
    wait_for("its transfer has begun", lambda: "receiving" in slow.log)
    if kept:
        new = family.native
        family.master.kill()
        new.call("REPLICAOF", "NO", "ONE")
        family.middle.follow(new)
    else:
        new = family.master
        new.kill()
        new.restart()
        family.native.kill()
    Load(new, features=new.flavour.features, seed=44).write(100)
    for node in (family.middle, family.replica, slow):
        _wait_follows(node, new)
    wait_same(new, family.replica, slow)


def _wait_follows(node: Node, master: Node) -> None:
    def follows() -> bool:
        try:
            return node.link_up and node.replid == master.replid
        except hiredis.ReplyError:
            return False

    wait_for(f"{node.name} follows {master.name}", follows)
