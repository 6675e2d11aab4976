"""Disks that fill up: reading stops, serving goes on, and nothing that is stored is lost."""

from __future__ import annotations

import os
from contextlib import ExitStack

from tests.soak.faults.fault import Fault
from tests.soak.topology import Disk, Topology
from tests.soak.world import World, linger

_BELOW = (
    "below the relays: a replica that is further behind than the limits allow is given up. The "
    "relays themselves: none, the master's backlog covers what they did not read"
)
_VALUE_BYTES = 64 << 10


class Burst(Fault):
    """More is written than the quota holds, while a replica of a relay reads nothing."""

    name = "burst beyond the quota"
    weight = 8
    legitimate = _BELOW

    @classmethod
    def possible(cls, topology: Topology) -> bool:
        return topology.disk is not Disk.PLAIN

    def strike(self, world: World) -> str:
        _excuse_below(world)
        megabytes = self.rng.choice([16, 40, 64])
        replica = self.rng.choice(world.replicas)
        with ExitStack() as stack:
            if self.rng.random() < 0.7:
                stack.enter_context(world.held(replica))
                replica.freeze()
                world.ledger.stands_still(replica)
                stack.callback(replica.thaw)
            write(world, megabytes)
            linger(self.rng, 0, 1.0)
        return f"{megabytes} MiB, {replica.name} frozen"


class Ballast(Fault):
    """The relay's file system is filled by somebody else, and has room again later."""

    name = "file system full"
    weight = 8
    legitimate = _BELOW

    @classmethod
    def possible(cls, topology: Topology) -> bool:
        return topology.disk is Disk.TMPFS

    def strike(self, world: World) -> str:
        _excuse_below(world)
        relay = self.rng.choice(world.relays)
        ballast = relay.data_dir.parent / "ballast"
        room = self.rng.choice([0, 1 << 20, 6 << 20, 12 << 20])
        try:
            with ballast.open("wb") as file:
                written = fill(file.fileno(), room)
            write(world, 12)
            linger(self.rng, 0.3, 1.5)
        finally:
            ballast.unlink()
        return f"{relay.name}: {written >> 20} MiB of ballast, {room >> 20} MiB left"


def write(world: World, megabytes: int) -> None:
    """Write so much to the master, to a few keys.

    Raises:
        OSError: The master is not there, or is no master any more.
    """
    with world.client() as client:
        for number in range(megabytes * (1 << 20) // _VALUE_BYTES):
            value = os.urandom(_VALUE_BYTES // 2).hex()
            reply = client.pipeline([("SET", f"burst:{number % 8}", value)])[0]
            if reply != b"OK":
                raise ConnectionError(str(reply))


def fill(descriptor: int, room_bytes: int) -> int:
    """Grow a file until the file system has so much room left."""
    status = os.fstatvfs(descriptor)
    size = max(0, status.f_bavail * status.f_frsize - room_bytes)
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError:  # somebody else was quicker: full is full
        return 0
    return size


def _excuse_below(world: World) -> None:
    for relay in world.relays:
        for node in world.below(relay):
            world.ledger.excuse(node, "given up for want of room")
