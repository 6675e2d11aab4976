"""Masters of a cluster as upstream: one relay for each shard.

A standalone replica beside the relay of a shard is the oracle: what it costs the shard, the relay
may cost.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.servers.cluster import Cluster, slot_of, tag_in
from tests.servers.dataset import wait_same
from tests.servers.find import ALL_NAMES
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.relay import REPOSITORY, Relay
from tests.servers.server import Server
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.relay_only


# What one of the replicas is instead of the cluster's own kind.
_OTHER_KINDS = {"redis-6.2": "valkey-9.1", "redis-7.0": "valkey-8.1", "valkey-8.1": "redis-8.2"}


class _Sharded:
    """A cluster, and for each of its masters a relay with a standalone replica below."""

    def __init__(self, lab: Lab, program: str) -> None:
        self.cluster = Cluster(lab, program)
        self.masters = self.cluster.masters
        self.features = self.masters[0].flavour.features
        self.shards = [self.cluster.shard(number) for number in range(3)]
        self.loads = [Load(shard, features=self.features) for shard in self.shards]
        for load in self.loads:
            load.write(60)
        sinks = {"sink": "file:audit.jsonl"}
        self.relays = [
            lab.relay(master, f"relay-{number}", **(sinks if number == 1 else {}))
            for number, master in enumerate(self.masters)
        ]
        kinds = (program, program, _OTHER_KINDS.get(program, program))
        self.replicas = [
            lab.server(kind, f"replica-{number}", upstream=relay)
            for number, (relay, kind) in enumerate(zip(self.relays, kinds, strict=True))
        ]
        self.native = lab.server(program, "native", upstream=self.masters[0])
        for node in (*self.replicas, self.native):
            node.wait_link(60)  # ten processes begin at once

    def wait_same(self) -> None:
        """Wait until what is behind each relay is what its shard holds."""
        for master, replica in zip(self.masters, self.replicas, strict=True):
            wait_same(master, replica)
        wait_same(self.masters[0], self.native)


@pytest.mark.parametrize("program", ALL_NAMES)
def test_a_relay_for_each_shard(lab: Lab, program: str) -> None:
    """Full and partial syncs, a killed relay, a slot that moves, and a failover in a shard."""
    world = _Sharded(lab, program)
    world.wait_same()
    for relay in world.relays:
        relay.wait_stored()
    assert [relay.replid for relay in world.relays] == [m.replid for m in world.masters]
    with world.loads[0], world.loads[1]:
        world.relays[0].kill()
        world.relays[0].restart()
        world.relays[0].wait_link()
        _move_a_slot(world)
        world.masters[1].drop_replicas()
        world.relays[1].wait_link()
    world.wait_same()
    assert [master.syncs.full for master in world.masters] == [2, 1, 1]
    _fail_over(world)
    world.wait_same()
    assert [replica.full_syncs_received for replica in world.replicas] == [1, 1, 1]
    for relay, master in zip(world.relays, world.masters, strict=True):
        assert len(_snapshot_keys(relay)) > 50
        assert "Traceback" not in relay.log
        assert master.syncs.full <= 2
    audit = _delivered(world.relays[1])
    if program == "valkey-9.1":  # what two masters say to each other about a slot is there, too
        assert "SYNCSLOTS" in audit
        assert "moved:stream" in audit
    else:
        assert '"cmd":"RESTORE' in audit


def test_a_node_of_the_cluster_is_refused(lab: Lab) -> None:
    """Only Valkey 9 says that it is one; it is told why, and keeps its place for its master."""
    cluster = Cluster(lab, "valkey-9.1", masters=1)
    (master,) = cluster.masters
    relay = lab.relay(master)
    relay.wait_link()
    master.call("CONFIG", "SET", "cluster-announce-port", relay.port)
    node = cluster.newcomer(master)
    wait_for("it is told why", lambda: "no node of your cluster" in node.log)
    wait_for("the relay says so", lambda: "refused: it is a node of a cluster" in relay.log)
    asked = node.log.count("no node of your cluster")
    wait_for("it asks again", lambda: node.log.count("no node of your cluster") > asked)
    assert relay.log.count("refused: it is a node of a cluster") == 1
    assert (relay.syncs.full, relay.status()["replicas"]) == (0, [])
    assert not node.link_up
    master.call("CONFIG", "SET", "cluster-announce-port", 0)
    node.wait_link()
    wait_same(master, node)


def _move_a_slot(world: _Sharded) -> None:
    source, target = world.masters[0], world.masters[1]
    tag = tag_in(world.cluster.slots[0], skip=3)
    with source.client() as client:
        client.pipeline([("SET", f"{{{tag}}}moved:{n}", n) for n in range(50)])
        client.call("XADD", f"{{{tag}}}moved:stream", "1-1", "field", "value")
    if source.flavour.name == "valkey-9.1":
        world.cluster.move_slot_at_once(slot_of(tag), source, target)
    else:
        world.cluster.move_slot(slot_of(tag), source, target)
    with target.client() as client:
        assert client.call("GET", f"{{{tag}}}moved:7") == b"7"
        client.call("SET", f"{{{tag}}}moved:7", "written there")
    assert source.call("CLUSTER", "COUNTKEYSINSLOT", slot_of(tag)) == 0


def _fail_over(world: _Sharded) -> None:
    """The shard's master becomes a replica of its replica; the relay first stays, then moves."""
    old = world.masters[0]
    new = world.cluster.replica(old)
    old_replid = old.replid
    world.cluster.fail_over(new)
    for node in (world.native, world.relays[0], world.replicas[0]):
        wait_for(f"{node.name} follows on", lambda n=node: _follows(n, new))
    assert new.replid != old_replid
    world.shards[0].master = new
    if new.flavour.version >= (7, 0, 0):  # 6.2 stands still for ten seconds after it has given way
        world.loads[0].write(30)
        wait_same(new, world.replicas[0], world.native)
    for node in (world.native, world.relays[0]):
        node.follow(new)
    for node in (world.native, world.relays[0]):
        wait_for(f"{node.name} is attached", lambda: len(new.replicas()) == 3)
    old.kill()
    world.masters[0] = new
    world.loads[0].write(30)
    assert (new.syncs.full, new.syncs.partial_ok) == (0, 3)


def _follows(node: Server | Relay, master: Server) -> bool:
    return node.link_up and node.replid == master.replid


def _delivered(relay: Relay) -> str:
    """Return what its file sink has written, once it has the last write to the moved slot."""

    def text() -> str:
        found = (relay.directory / "audit.jsonl").read_text()
        return found if "written there" in found else ""

    found = wait_for("the sink has the last write", text)
    assert relay.status()["sinks"][0]["last_error"] == ""
    return found


def _snapshot_keys(relay: Relay) -> list[str]:
    """Read the relay's stored snapshot with its own reader."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "repltap",
            "snapshot",
            "cat",
            "--format",
            "keys",
            "--data-dir",
            str(relay.data_dir),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
