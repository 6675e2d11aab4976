"""Failovers to the byte, each beside a native replica that stands where the relay stands.

The native replica is the oracle: what it is granted, the relay is granted; how it names its history
and what it answers at its borders, the relay does. Everything below the relay holds what is below
the oracle.
"""

from __future__ import annotations

import json
from typing import Any

import hiredis
import pytest

from tests.servers.dataset import wait_same
from tests.servers.find import ALL_NAMES
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.node import Node
from tests.servers.server import Server
from tests.servers.shire import Shire, full_syncs, wait_follows
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.relay_only


@pytest.mark.parametrize("program", ALL_NAMES)
def test_promoted_and_back_level_behind_and_ahead(lab: Lab, program: str) -> None:
    """One failover after the other, there and back."""
    shire = Shire(lab, program, sink="file:audit.jsonl")
    first = shire.master.replid
    assert shire.granted() == [1, 1]

    shire.promote()
    shire.settle()
    assert shire.granted() == [1, 1]
    shire.compare_borders()
    shire.write(40, seed=3)
    shire.settle()

    shire.come_back()
    shire.settle(shire.other)
    second = shire.master.replid
    shire.drift(-40)  # the new master has more than the relay
    shire.promote()
    shire.settle()
    assert shire.granted() == [1, 1]
    shire.compare_borders()
    shire.write(40, seed=4)
    shire.settle()

    shire.come_back()
    shire.settle(shire.other)
    lost = shire.master.replid
    shire.drift(40)  # the relay has more than the new master
    shire.promote()
    shire.settle()
    assert shire.granted() == [2, 2]
    assert [full_syncs(node) for node in (shire.sub, shire.below, shire.lower)] == [2, 2, 2]
    shire.write(10, seed=5)  # a link on which nothing has come yet is given more time
    shire.settle()
    shire.compare_borders(first, second, lost, ahead=True)
    _check_that_the_sink_was_told(shire, first, second, lost)


def _check_that_the_sink_was_told(shire: Shire, first: str, second: str, lost: str) -> None:
    path = shire.relay.directory / "audit.jsonl"

    def told() -> list[dict[str, Any]]:
        whole, _, _ = path.read_bytes().rpartition(b"\n")  # it may be writing just now
        records = [json.loads(line) for line in whole.splitlines()]
        found = [record for record in records if record["kind"] == "history"]
        return found if len(found) == 3 else []

    records = wait_for("the sink is told of each failover", told)
    details = [record["details"] for record in records]
    said = [
        (detail["reason"], detail["previous_replid"], record["replid"])
        for record, detail in zip(records, details, strict=True)
    ]
    assert said == [
        ("failover", first, second),
        ("failover", second, lost),
        ("full_resync", lost, shire.master.replid),
    ]


@pytest.mark.parametrize("program", ["redis-7.0", "redis-8.2", "valkey-9.1"])
def test_failover_command(lab: Lab, program: str) -> None:
    """TO the relay it is refused; TO a replica it is followed, below the old master and beyond."""
    shire = Shire(lab, program)
    before = shire.master.replid

    _call_failover(shire.master, shire.relay)
    wait_for("the master has given up", lambda: "rejected" in shire.master.log)
    wait_for("it is master again", lambda: shire.master.replid != before)
    shire.write(20, seed=3)
    shire.settle()
    assert "asked this relay to take over as master; refused" in shire.relay.log
    assert shire.granted() == [1, 1]
    shire.compare_borders(before)

    _call_failover(shire.master, shire.other)
    shire.master, shire.other = shire.other, shire.master
    wait_for(
        "the other one is master", lambda: shire.master.info("replication")["role"] == "master"
    )
    shire.settle()  # below the old master, which is a replica now
    shire.write(20, seed=4)
    shire.settle(shire.other)
    shire.lead(shire.master)
    for wire in shire.wires.values():
        wire.cut()
    shire.write(20, seed=5)
    shire.settle()
    assert shire.granted() == [1, 1]
    shire.compare_borders(before)

    _while_a_snapshot_arrives(lab, shire)


def _call_failover(master: Server, target: Node) -> None:
    def begun() -> bool:
        try:
            return bool(
                master.call("FAILOVER", "TO", "127.0.0.1", target.port, "TIMEOUT", 60_000) == b"OK"
            )
        except hiredis.ReplyError:  # its master does not list it yet
            return False

    wait_for("the failover begins", begun)


def _while_a_snapshot_arrives(lab: Lab, shire: Shire) -> None:
    """The master dies while a new relay gets its first snapshot."""
    old, new = shire.master, shire.other
    old.call("CONFIG", "SET", "rdb-key-save-delay", 20_000)
    wire = lab.proxy(old)
    relay = lab.relay(wire, "late-relay")
    wait_for("it arrives", lambda: list(relay.data_dir.rglob("*.part")))
    before = new.syncs.full
    shire.promote()
    wire.target_port = new.port
    wire.cut()
    below = lab.server(old.flavour, "late-below", upstream=relay)
    for node in (relay, below):
        wait_follows(node, new)
    shire.write(20, seed=6)
    shire.settle(below)
    assert full_syncs(relay) == 2  # begun, both of them
    assert (new.syncs.full - before, full_syncs(below)) == (1, 1)


@pytest.mark.parametrize("program", ["redis-7.0", "valkey-8.1"])
def test_split_brain(lab: Lab, program: str) -> None:
    """Two masters write under one past; what the lost one wrote is nowhere below the other."""
    shire = Shire(lab, program)
    stray = lab.server(program, "stray", upstream=shire.master)
    stray.wait_link()
    lost = shire.master
    shire.kill_links()
    shire.other.call("REPLICAOF", "NO", "ONE")
    shire.master, shire.other = shire.other, lost
    shire.lead(shire.master)
    shire.settle()
    assert shire.granted() == [1, 1]
    shire.write(40, seed=3)
    Load(lost, features=shire.features, seed=4).write(60)
    wait_same(lost, stray)
    shire.settle()
    shire.compare_borders()

    # Whoever took part in the other past needs all of it anew, here as there.
    lost.follow(shire.relay)
    stray.follow(shire.oracle)
    shire.settle(lost, stray)
    assert (full_syncs(lost), full_syncs(stray)) == (1, 2)

    # Two pasts again: the operator points everybody at the wrong one, and back.
    lost.call("REPLICAOF", "NO", "ONE")
    Load(lost, features=shire.features, seed=5).write(60)
    shire.write(40, seed=6)
    shire.settle()
    for times, master in ((2, lost), (3, shire.master)):
        shire.kill_links()
        shire.lead(master)
        for node in (shire.oracle, shire.relay, shire.below):
            wait_follows(node, master)
        wait_same(master, *shire.everybody)
        assert shire.granted() == [times, times]
    shire.compare_borders(lost.replid)


def test_while_the_relay_is_down_or_full(lab: Lab) -> None:
    """It missed one failover, had no room at the next, and missed two after that."""
    shire = Shire(lab, "redis-7.0")
    shire.relay.wait_stored()
    shire.relay.kill()
    shire.promote(lead=False)
    shire.write(20, seed=2)
    shire.lead(shire.master)
    shire.relay.restart()
    shire.settle()
    assert shire.granted() == [1, 1]
    shire.compare_borders()

    shire.come_back()
    shire.settle(shire.other)
    shire.relay.stop()
    shire.relay.options["store_min_free_bytes"] = "1000000gb"
    shire.relay.restart()
    wait_for("it has no room", lambda: shire.relay.status()["disk_full"])
    shire.promote()
    shire.write(20, seed=3)
    wait_follows(shire.oracle, shire.master)
    shire.below.wait_link()
    assert shire.relay.status()["disk_full"]
    shire.relay.stop()
    del shire.relay.options["store_min_free_bytes"]
    shire.relay.restart()
    shire.settle()
    assert shire.granted() == [1, 1]
    shire.compare_borders()

    shire.come_back()
    shire.settle(shire.other)
    older = shire.master.replid
    shire.relay.kill()
    shire.promote(lead=False)
    shire.come_back()
    wait_same(shire.master, shire.other)
    shire.promote(lead=False)
    shire.lead(shire.master)
    shire.relay.restart()
    shire.settle()
    assert shire.granted() == [2, 2]
    shire.compare_borders(older)
