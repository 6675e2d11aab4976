"""Links that break, hang, crawl and split. None of them excuses a full sync."""

from __future__ import annotations

import random
from abc import abstractmethod
from typing import ClassVar

from tests.servers.node import Node
from tests.servers.proxy import Action, Direction, Proxy
from tests.servers.proxy import Fault as Place
from tests.soak.faults.fault import Fault, MissedError
from tests.soak.topology import REPL_TIMEOUT_SECONDS
from tests.soak.world import World, linger

_NEVER = "none: the journal and the master's backlog hold what is missing"


class _LinkFault(Fault):
    """Something that happens to the link of one follower."""

    legitimate = _NEVER

    def strike(self, world: World) -> str:
        follower = self.rng.choice(world.followers)
        upstream = world.above.get(follower)
        if upstream is None:
            raise MissedError(f"{follower.name} has become the master")
        wire = world.wire(follower, upstream)
        done = self.hit(world, follower, wire)
        return f"{follower.name} -> {upstream.name}: {done}"

    @abstractmethod
    def hit(self, world: World, follower: Node, wire: Proxy) -> str:
        """Do it to this link."""


def draw_transfer_places(rng: random.Random) -> list[Place]:
    """Draw where the next transfers of a snapshot break off, or crawl."""
    return [
        Place(
            direction=Direction.TO_CLIENT,
            action=rng.choice([Action.CUT, Action.RESET, Action.SPLIT]),
            at=rng.choice([b"\n$", b"REDIS00", b"VALKEY0", b"+FULLRESYNC"]),
            after_bytes=rng.choice([0, 5, 60, 1_000, 20_000, 200_000]),
            count=500,
        )
        for _ in range(rng.randint(1, 2))
    ]


def describe(places: list[Place]) -> str:
    """Say where they are."""
    return ", ".join(f"{p.action.name} {p.after_bytes} after {p.at!r}" for p in places) or "no cut"


class Cut(_LinkFault):
    """The link is closed a few times in a row, properly or with RST."""

    name = "cut"
    weight = 12

    def hit(self, world: World, follower: Node, wire: Proxy) -> str:
        times, reset = self.rng.choice([1, 1, 1, 3, 6]), self.rng.random() < 0.4
        for _ in range(times):
            wire.cut(reset=reset)
            linger(self.rng, 0.01, 0.5)
        return f"{times} times" + (" with RST" if reset else "")


class CutAtByte(_LinkFault):
    """The next links break at a random byte of the stream or of the handshake."""

    name = "cut at a byte"
    weight = 8
    _PLACES = (b"", b"\r\n", b"MULTI", b"*", b"+CONTINUE", b"SELECT", b"EXEC")

    def hit(self, world: World, follower: Node, wire: Proxy) -> str:
        ways = [Direction.TO_CLIENT, Direction.TO_CLIENT, Direction.TO_CLIENT, Direction.TO_SERVER]
        places = [
            Place(
                direction=self.rng.choice(ways),
                action=self.rng.choice([Action.CUT, Action.RESET]),
                at=self.rng.choice(self._PLACES),
                after_bytes=self.rng.choice([0, 1, 7, 100, 3_000, 40_000]),
            )
            for _ in range(self.rng.randint(1, 3))
        ]
        wire.faults.extend(places)
        wire.cut()
        linger(self.rng, 0.5, 1.5)
        return ", ".join(f"{p.after_bytes} after {p.at!r} {p.direction.value}" for p in places)


class Refused(_LinkFault):
    """The link is cut, and nobody answers for a while."""

    name = "away"
    weight = 5

    def hit(self, world: World, follower: Node, wire: Proxy) -> str:
        wire.weather.refusing = True
        wire.cut()
        seconds = linger(self.rng, 0.3, 2.5)
        wire.weather.refusing = False
        return f"for {seconds:.1f} s"


class Stall(_LinkFault):
    """Nothing passes for a while; then everything does."""

    name = "stall"
    weight = 8
    _SECONDS: ClassVar[tuple[float, float]] = (0.2, 2.0)

    def hit(self, world: World, follower: Node, wire: Proxy) -> str:
        wire.weather.stall()
        world.ledger.stands_still(follower)
        seconds = linger(self.rng, *self._SECONDS)
        wire.weather.clear()
        return f"for {seconds:.1f} s"


class LongStall(Stall):
    """Nothing passes for longer than the timeouts: both ends give the link up."""

    name = "stall beyond the timeout"
    weight = 2
    _SECONDS = (REPL_TIMEOUT_SECONDS + 0.5, REPL_TIMEOUT_SECONDS + 2.0)


class Delay(_LinkFault):
    """Each read is late."""

    name = "delay"
    weight = 5

    def hit(self, world: World, follower: Node, wire: Proxy) -> str:
        wire.weather.delay_seconds = self.rng.choice([0.01, 0.05, 0.2])
        world.ledger.stands_still(follower)
        seconds = linger(self.rng, 0.5, 2.0)
        delay = wire.weather.delay_seconds
        wire.weather.clear()
        return f"{delay:g} s each for {seconds:.1f} s"


class Throttle(_LinkFault):
    """A thin line."""

    name = "throttle"
    weight = 5

    def hit(self, world: World, follower: Node, wire: Proxy) -> str:
        rate = wire.weather.bytes_per_second = self.rng.choice([2_000, 20_000, 200_000])
        world.ledger.stands_still(follower)
        if self.rng.random() < 0.4:
            wire.cut()
        seconds = linger(self.rng, 0.5, 2.5)
        wire.weather.clear()
        return f"{rate} bytes a second for {seconds:.1f} s"


class Split(_LinkFault):
    """Each byte is a packet of its own."""

    name = "split"
    weight = 5

    def hit(self, world: World, follower: Node, wire: Proxy) -> str:
        wire.weather.split = True
        world.ledger.stands_still(follower)
        if self.rng.random() < 0.5:
            wire.cut()
        seconds = linger(self.rng, 0.3, 1.5)
        wire.weather.clear()
        return f"for {seconds:.1f} s"


class HalfOpen(_LinkFault):
    """The follower connects again while its old connection still hangs at the server."""

    name = "half-open"
    weight = 6

    def hit(self, world: World, follower: Node, wire: Proxy) -> str:
        times = self.rng.randint(1, 4)
        for _ in range(times):
            wire.lose_clients()
            linger(self.rng, 0.1, 0.8)
        if self.rng.random() < 0.7:
            wire.cut()
        return f"{times} times"
