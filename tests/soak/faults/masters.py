"""Masters that are replaced, forget, or move on without us."""

from __future__ import annotations

from contextlib import suppress

import hiredis

from tests.servers.find import Feature
from tests.servers.server import Server
from tests.servers.waiting import wait_for
from tests.soak.faults.fault import Fault, MissedError
from tests.soak.topology import Topology
from tests.soak.world import World, linger

_AHEAD = (
    "whoever holds bytes that the promoted server never had: Redis says so in its log, and the "
    "ledger counts these lines"
)


class Failover(Fault):
    """The master is killed, the native replica promoted; the old master follows it."""

    name = "failover"
    weight = 8
    legitimate = f"the old master, which comes back empty; {_AHEAD}"

    def strike(self, world: World) -> str:
        lag = self.rng.choice(["nobody", "nobody", "the native", "the relays"])
        with world.reign():
            old, new = world.master, world.native
            if not new.link_up:
                raise MissedError(f"{new.name} is not in sync")
            late = {"nobody": [], "the native": [new], "the relays": world.relays}[lag]
            wires = [world.wire(node, old) for node in late if world.above.get(node) is old]
            for wire in wires:
                wire.weather.stall()
            linger(self.rng, 0, 0.4)
            old.kill()
            world.ledger.excuse(old, "the old master came back empty")
            for wire in wires:
                wire.cut()
                wire.weather.clear()
            linger(self.rng, 0, 0.3)
            new.call("REPLICAOF", "NO", "ONE")
            world.ledger.forked()
            world.crown(new)
            for follower in [f for f, upstream in world.above.items() if upstream is old]:
                world.point(follower, new)
                linger(self.rng, 0, 0.2)
            linger(self.rng, 0, 0.5)
            old.start()
            old.wait_ready()
        return f"{old.name} -> {new.name}, behind: {lag}"


class PlannedFailover(Fault):
    """FAILOVER TO the native replica: it waits until that has everything."""

    name = "planned failover"
    weight = 5
    legitimate = "none; when a relay lost its tail at the same time: what is below it"

    def strike(self, world: World) -> str:
        with world.reign():
            old, new = world.master, world.native
            if not new.link_up:
                raise MissedError(f"{new.name} is not in sync")
            old.call("FAILOVER", "TO", "127.0.0.1", new.port, "TIMEOUT", 1500)
            wait_for("the failover has ended", lambda: _settled(old, new))
            if _role(old) == "master":
                return f"{old.name} gave up"
            world.ledger.forked()
            world.crown(new)
            world.point(old, new)
            linger(self.rng, 0, 1.0)
            for follower in [f for f, upstream in world.above.items() if upstream is old]:
                world.point(follower, new)
                linger(self.rng, 0, 0.3)
        return f"{old.name} -> {new.name}"


class RelayPicked(Fault):
    """FAILOVER TO a relay: it refuses, and the master goes on under a new replid."""

    name = "relay picked as master"
    weight = 2
    legitimate = "none; when a relay lost its tail at the same time: what is below it"

    def strike(self, world: World) -> str:
        with world.reign():
            master = world.master
            relay = self.rng.choice([r for r in world.relays if world.above[r] is master])
            master.call("FAILOVER", "TO", "127.0.0.1", relay.port, "TIMEOUT", 1500)
            world.ledger.forked()
            wait_for("the master is master again", lambda: _settled(master, master))
        return relay.name


class MasterForgets(Fault):
    """kill -9 of a master without persistence: it is back as somebody else."""

    name = "master forgets"
    weight = 1
    legitimate = "everybody: there is a new history"

    def strike(self, world: World) -> str:
        with world.reign():
            master = world.master
            for node in world.nodes:
                world.ledger.excuse(node, "the master lost its history")
            master.kill()
            linger(self.rng, 0, 1.0)
            master.start()
            master.wait_ready()
        return master.name


class MasterRestarts(Fault):
    """SHUTDOWN SAVE and a new start: who has exactly what was saved continues."""

    name = "master restarts"
    weight = 2
    legitimate = "whoever is not exactly at the offset that was saved: the backlog starts there"

    @classmethod
    def possible(cls, topology: Topology) -> bool:
        return Feature.KEEPS_REPLID in topology.master.features

    def strike(self, world: World) -> str:
        with world.reign():
            master = world.master
            master.call("CONFIG", "SET", "shutdown-timeout", 2)
            with suppress(OSError, hiredis.ReplyError):
                master.call("SHUTDOWN", "SAVE")
            master.wait()
            linger(self.rng, 0, 0.3)
            late = [n for n in world.followers if world.above[n] is master]
            offsets = {node: _offset(node) for node in late}
            world.ledger.forked()
            master.start()
            master.wait_ready()
            (master.directory / "dump.rdb").unlink()
            saved = int(master.info("replication")["second_repl_offset"]) - 1
            for node, offset in offsets.items():
                if offset != saved:
                    world.ledger.excuse(node, "not where the restarted master's backlog begins")
        return f"{master.name} at {saved}, others {sorted(offsets.values())}"


class OutgrownBacklog(Fault):
    """While all links to the master are down, more is written than its backlog holds."""

    name = "gap beyond the backlog"
    weight = 1
    legitimate = "everybody directly below the master"

    def strike(self, world: World) -> str:
        with world.reign():
            master = world.master
            direct = [f for f, upstream in world.above.items() if upstream is master]
            wires = [world.wire(follower, master) for follower in direct]
            try:
                for follower, wire in zip(direct, wires, strict=True):
                    world.ledger.excuse(follower, "the gap was larger than the backlog")
                    wire.weather.refusing = True
                    wire.cut()
                master.call("CONFIG", "SET", "repl-backlog-size", 16_384)
                with master.client() as client:
                    for number in range(40):
                        client.call("SET", f"gap:{number % 4}", "g" * 20_000)
            finally:
                for wire in wires:
                    wire.weather.refusing = False
            linger(self.rng, 0.2, 0.5)
            master.call("CONFIG", "SET", "repl-backlog-size", "128mb")
        return ", ".join(follower.name for follower in direct)


def _settled(old: Server, new: Server) -> bool:
    """Tell whether a failover has ended: in an exchange of roles, or with everything as before."""
    try:
        info = old.info("replication")
        if info["role"] == "master":
            return info.get("master_failover_state", "no-failover") == "no-failover"
        return _role(new) == "master"
    except hiredis.ReplyError:
        return False


def _role(server: Server) -> str:
    return server.info("replication")["role"]


def _offset(node: object) -> int:
    """Where a follower stands; -1 when it can't say."""
    try:
        return int(node.offset)  # type: ignore[attr-defined]
    except (OSError, hiredis.ReplyError):
        return -1
