"""Ten failovers in a row under load, with real sentinels, and two relays beside native replicas.

One relay asks Sentinel for its master, the other is re-pointed by it; both acknowledge what a
replica below them has (`quorum:1`). What is claimed, and checked after each failover:

- the datasets and offsets behind both relays are the new master's;
- a relay got a full sync only where the new master said that this relay had asked for more of the
  old history than it has: what it says to any replica that was that far. Beside the relays is a
  native replica of priority 0; what it needed is printed;
- a write that WAIT confirmed for every replica that the master had is on the new master, and so
  behind both relays; and whenever a relay was counted, the replica below it had the write: one
  that is frozen there keeps its relay from being counted.

The next failover begins when Sentinel is done with the last one. Before that not even a write that
all have confirmed is safe from it: `wait_settled` says why.

A write that WAIT 1 has confirmed for one replica is as safe as Redis makes it: when Sentinel
promotes another one it may be gone, for relays and native replicas alike. How many are is printed.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field

import hiredis
import pytest

from tests.servers.acked import WAIT_MS, Acked
from tests.servers.client import Client
from tests.servers.dataset import wait_same
from tests.servers.effort import some
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.node import Node
from tests.servers.relay import Relay
from tests.servers.sentinel import MASTER_NAME, failover, wait_settled, watchful
from tests.servers.server import Server
from tests.servers.waiting import wait_for

pytestmark = [pytest.mark.relay_only, pytest.mark.slow]

FAILOVERS = int(os.environ.get("REPLTAP_FAILOVERS", "10"))
_KINDS = ("kill", "asked", "freeze", "kill", "asked")
_AHEAD = r"Replica 127\.0\.0\.1:%d asks for .*\n(?:\d+:C .*\n)*\d+:M .* but I can reply up to "
"""What a master logs that was asked for more of its former history than it has, by whom (Redis and
Valkey `masterTryPartialResynchronization`); what its children print may come between."""


@dataclass
class Scene:
    """Three servers that take turns, two relays, a replica below each, three sentinels."""

    lab: Lab
    program: str
    natives: list[Server] = field(default_factory=list)
    relays: list[Relay] = field(default_factory=list)
    below: list[Server] = field(default_factory=list)

    def __post_init__(self) -> None:
        lab, program = self.lab, self.program
        self.natives.append(lab.master(program, "node-0"))
        self.natives += [lab.server(program, f"node-{n}", upstream=self.natives[0]) for n in (1, 2)]
        for native in self.natives[1:]:
            native.wait_link(60)
        self.sentinels = lab.sentinels(program, self.natives[0], failover_ms=4000)
        self.beside = lab.server(program, "beside", upstream=self.natives[0], replica_priority=0)
        self.beside.wait_link(60)
        asks = lab.relay(self.natives[0], "asks", start=False, upstream_ack_policy="quorum:1")
        asks.upstream_url = f"redis-sentinel://127.0.0.1:{self.sentinels[0].port}/{MASTER_NAME}"
        asks.start()
        self.relays += [asks, lab.relay(self.natives[0], "told", upstream_ack_policy="quorum:1")]
        self.below += [
            lab.server(program, f"below-{relay.name}", upstream=relay) for relay in self.relays
        ]
        for node in (*self.relays, *self.below):
            node.wait_link(60)
        self.master = self.natives[0]

    def client(self) -> Client:
        """Open a connection to the master of now, as `Writable`."""
        return Client(self.master.port, timeout_seconds=2.0)

    def in_place(self) -> set[int]:
        """Name the ports that must have confirmed a write."""
        return {node.port for node in self._below_master()}

    def _below_master(self) -> list[Node]:
        return [*self.replicas, *self.relays, self.beside]

    def settle(self) -> None:
        """Wait until all are in place below the master, and Sentinel is done."""
        self.replicas = [native for native in self.natives if native is not self.master]
        wait_settled(self.sentinels, self.master, *self._below_master())

    def look(self) -> Server:
        """See whom all sentinels name, and which says so itself: nobody else is the master."""
        ports = {sentinel.master_port() for sentinel in self.sentinels}
        if len(ports) == 1 and ports != {self.master.port}:
            found = next(native for native in self.natives if native.port in ports)
            if found.info("replication")["role"] == "master":
                old, self.master = self.master, found
                self.replicas = [n for n in self.natives if n not in (found, old)]
        return self.master

    def follows(self, node: Node) -> bool:
        try:
            info = node.info("replication")
        except (OSError, hiredis.ReplyError):
            return False
        up = info.get("master_link_status") == "up"
        return up and int(info.get("master_port", 0)) == self.look().port

    def fail_over(self, kind: str) -> Server:
        """Make Sentinel choose another master; returns the old one."""
        old = self.master
        if kind == "asked":
            failover(self.sentinels[0], old)
            self._wait_for_another(old, kind)
            return old
        if kind == "kill":
            old.kill()
        else:
            old.freeze()
        with watchful(self.sentinels):
            self._wait_for_another(old, kind)
        return old

    def _wait_for_another(self, old: Server, kind: str) -> None:
        wait_for(f"all name another master after {kind}", lambda: self.look() is not old, 60)

    def come_back(self, old: Server, kind: str) -> None:
        """Let the old master return; Sentinel makes a replica of it, seconds later."""
        if kind == "kill":
            # It was the master: Sentinel has taken `replicaof` out of its file. With the one that
            # it was first started with it would come back below another replica, unseen by WAIT.
            old.upstream = None
            old.restart()
        elif kind == "freeze":
            old.thaw()

    def full_syncs(self) -> list[int]:
        """Count what each relay was given."""
        return [relay.status()["counters"]["upstream_sync_full"] for relay in self.relays]

    def denials(self) -> list[int]:
        """Count how often each relay had asked for more than a new master has."""
        logs = "".join(native.log for native in self.natives)
        return [len(re.findall(_AHEAD % relay.port, logs)) for relay in self.relays]


def _hold_up(scene: Scene, number: int) -> None:
    """Freeze the replica below a relay: WAIT must count the others alone."""
    everybody, held = len(scene.in_place()), scene.below[number % len(scene.below)]
    held.freeze()
    with scene.master.client() as client:  # patient, other than what has to notice a failover
        client.call("SET", "held-up", number)
        counted = client.call("WAIT", everybody, WAIT_MS)
    held.thaw()
    assert counted < everybody, f"before failover {number}: {held.name} was frozen"


def _round(scene: Scene, acked: Acked, number: int, kind: str) -> tuple[int, int]:
    """Go through one failover; returns the relays' full syncs, and the native one's."""
    scene.settle()
    _hold_up(scene, number)
    before = scene.full_syncs()
    native = scene.beside.full_syncs_received
    denied = scene.denials()
    features = scene.master.flavour.features
    with acked, Load(scene, features=features, seed=number, pause_seconds=0.01):
        confirmed = len(acked.by_all)
        wait_for("confirmed writes", lambda: len(acked.by_all) >= confirmed + 10, 60)
        old = scene.fail_over(kind)
        scene.come_back(old, kind)
        for relay in (*scene.relays, scene.beside):
            wait_for(
                f"{relay.name} follows the new master",
                lambda r=relay: scene.follows(r),  # type: ignore[misc]
                60,
            )
        for replica in scene.below:
            replica.wait_link(60)
        confirmed = len(acked.by_all)

        def again() -> bool:
            scene.look()
            return len(acked.by_all) >= confirmed + 5

        wait_for("confirmed writes again", again, 60)
    for relay in (*scene.relays, scene.beside):
        wait_for("it still follows", lambda r=relay: scene.follows(r), 60)  # type: ignore[misc]
    wait_same(scene.master, scene.beside, *scene.below, timeout_seconds=60)
    for relay in scene.relays:
        wait_for("equal offsets", lambda r=relay: r.offset == scene.master.offset, 60)  # type: ignore[misc]
    fulls = [now - then for now, then in zip(scene.full_syncs(), before, strict=True)]
    for relay, given, was, now in zip(scene.relays, fulls, denied, scene.denials(), strict=True):
        assert given <= now - was, (
            f"{relay.name}, failover {number} ({kind}): full for another reason"
        )
    assert acked.missing(scene.master, acked.by_all) == [], f"failover {number} ({kind})"
    assert acked.early == []
    return sum(fulls), scene.beside.full_syncs_received - native


@pytest.mark.parametrize("program", some(["redis-7.0", "valkey-9.1"], ["redis-8.2"]))
def test_ten_failovers_in_a_row(lab: Lab, program: str) -> None:
    scene = Scene(lab, program)
    acked = Acked(scene.client, scene.in_place, scene.below)
    began, relays, natives = time.monotonic(), 0, 0
    for number in range(FAILOVERS):
        fulls, given = _round(scene, acked, number, _KINDS[number % len(_KINDS)])
        relays += fulls
        natives += given
    lost = len(acked.missing(scene.master, acked.by_one))
    partial = sum(r.status()["counters"]["upstream_sync_partial_ok"] for r in scene.relays)
    print(
        f"\n{program}: {FAILOVERS} failovers in {time.monotonic() - began:.0f} s; two relays: "
        f"{partial} partial resyncs, {relays} full; the native replica beside them: {natives} "
        "full; "
        f"{len(acked.by_all)} writes confirmed by all replicas, 0 missing; "
        f"{len(acked.by_one)} by one at least, {lost} missing"
    )
    assert scene.relays[0].status()["upstream"]["sentinel"]["switches"] >= FAILOVERS
    for relay in scene.relays:
        assert relay.running
