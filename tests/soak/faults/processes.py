"""Processes that are killed, stopped and frozen."""

from __future__ import annotations

from tests.servers.server import Server
from tests.soak.faults.fault import Fault, MissedError
from tests.soak.faults.links import describe, draw_transfer_places
from tests.soak.topology import REPL_TIMEOUT_SECONDS
from tests.soak.world import World, linger

_RELAY_NEVER = (
    "none: what the journal lost, the master sends again. Below, when the history was renamed "
    "before it did (a failover at the same time): a replica then holds more of the old one"
)


class KillRelay(Fault):
    """kill -9 of a relay, several times in a row now and then."""

    name = "kill relay"
    weight = 14
    legitimate = _RELAY_NEVER

    def strike(self, world: World) -> str:
        relay = self.rng.choice(world.relays)
        times = self.rng.choice([1, 1, 2, 4])
        with world.held(relay):
            for _ in range(times):
                relay.kill()
                world.ledger.killed(relay)
                linger(self.rng, 0, 0.3)
                world.start_again(relay)
                linger(self.rng, 0, 0.8)
        return f"{relay.name} {times} times"


class StopRelay(Fault):
    """SIGTERM and a new start."""

    name = "stop relay"
    weight = 6
    legitimate = "none"

    def strike(self, world: World) -> str:
        relay = self.rng.choice(world.relays)
        with world.held(relay):
            relay.wait_ready()  # a signal before its handlers are set just ends it
            code = relay.stop()
            assert code == 0, f"{relay.name} ended with code {code} when it was asked to stop"
            seconds = linger(self.rng, 0, 1.0)
            world.start_again(relay)
        return f"{relay.name} for {seconds:.1f} s"


class KillReplica(Fault):
    """kill -9 of a replica, which comes back empty and asks for everything."""

    name = "kill replica"
    weight = 6
    legitimate = "the replica itself: it has no persistence"

    def strike(self, world: World) -> str:
        replica = self.rng.choice(_leaves(world))
        with world.held(replica):
            _check_follows(world, replica)
            replica.kill()
            world.ledger.excuse(replica, "the replica was killed")
            linger(self.rng, 0, 0.5)
            replica.start()
        return replica.name


class CutInTransfer(Fault):
    """A replica comes back empty, and its snapshot breaks off or crawls at a random byte."""

    name = "cut in a transfer"
    weight = 6
    legitimate = "the replica itself: it has no persistence"

    def strike(self, world: World) -> str:
        replica = self.rng.choice(_leaves(world))
        places = draw_transfer_places(self.rng)
        with world.held(replica):
            _check_follows(world, replica)
            replica.kill()
            world.ledger.excuse(replica, "the replica was killed")
            world.wire_above(replica).faults.extend(places)
            replica.start()
            linger(self.rng, 0.5, 2.0)
        return f"{replica.name}: {describe(places)}"


class Freeze(Fault):
    """SIGSTOP for a while: anybody."""

    name = "freeze"
    weight = 9
    legitimate = "none"
    _SECONDS = (0.2, 2.0)

    def strike(self, world: World) -> str:
        node = self.rng.choice(world.nodes)
        with world.held(node):
            node.freeze()
            world.ledger.stands_still(node)
            try:
                seconds = linger(self.rng, *self._SECONDS)
            finally:
                node.thaw()
        return f"{node.name} for {seconds:.1f} s"


class LongFreeze(Freeze):
    """SIGSTOP for longer than the timeouts: a slow replica is dropped, a hung master is left."""

    name = "freeze beyond the timeout"
    weight = 2
    _SECONDS = (REPL_TIMEOUT_SECONDS + 0.5, REPL_TIMEOUT_SECONDS + 2.5)


def _check_follows(world: World, replica: Server) -> None:
    """A failover may have made it the master while it was waited for."""
    if replica is world.master:
        raise MissedError(f"{replica.name} has become the master")


def _leaves(world: World) -> list[Server]:
    witness = [world.witness] if world.witness else []
    return [*world.replicas, *witness, world.native]
