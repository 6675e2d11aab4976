"""Followers that are moved while the load runs, and new ones that come and go."""

from __future__ import annotations

from tests.servers.node import Node
from tests.soak.faults.fault import Fault, MissedError
from tests.soak.topology import Topology
from tests.soak.world import World, linger

_AHEAD = (
    "none, unless nothing reaches the relay that it comes to: a replica ahead of the journal is "
    "held for some seconds only"
)


class MoveReplica(Fault):
    """A replica goes to the master, to one relay, to the other, a few times."""

    name = "move replica"
    weight = 9
    legitimate = _AHEAD

    def strike(self, world: World) -> str:
        replica = self.rng.choice(world.replicas)
        way: list[str] = []
        for _ in range(self.rng.randint(1, 4)):
            places: list[Node] = [world.master, *world.relays]
            if not replica.flavour.can_follow(world.master.flavour):
                places.remove(world.master)
            place = self.rng.choice(places)
            world.point(replica, place)
            way.append(place.name)
            linger(self.rng, 0.0, 0.7)
        return f"{replica.name} to {', '.join(way)}"


class MoveRelay(Fault):
    """The second relay goes to the master, and below the first one again."""

    name = "move relay"
    weight = 4
    legitimate = _AHEAD

    @classmethod
    def possible(cls, topology: Topology) -> bool:
        return len(topology.relays) > 1

    def strike(self, world: World) -> str:
        first, second = world.relays
        way: list[str] = []
        for _ in range(self.rng.randint(1, 3)):
            place: Node = self.rng.choice([world.master, first])
            world.point(second, place)
            way.append(place.name)
            linger(self.rng, 0.0, 0.7)
        return f"{second.name} to {', '.join(way)}"


class Newcomer(Fault):
    """A new replica attaches to a relay under load and leaves again, perhaps before it is whole."""

    name = "newcomer"
    weight = 3
    legitimate = "the newcomer itself, from what the relay has stored"

    def strike(self, world: World) -> str:
        relay = self.rng.choice(world.relays)
        if world.topology.needs_other_formats:
            raise MissedError("the relay might have to fetch another format for it")
        newcomer = world.newcomer(relay)
        try:
            newcomer.start()
            seconds = linger(self.rng, 0.1, 2.0)
        finally:
            newcomer.kill()
            world.dismiss(newcomer)
        return f"at {relay.name} for {seconds:.1f} s"
