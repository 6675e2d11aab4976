"""A real Redis or Valkey Cluster on loopback, and writes to one of its shards."""

from __future__ import annotations

import binascii
import itertools
import re
import time
from collections.abc import Iterable, Sequence

import hiredis

from tests.servers.client import Argument, Client, Reply
from tests.servers.find import Flavour
from tests.servers.lab import Lab, flavour
from tests.servers.ports import free_port, is_free
from tests.servers.server import Server
from tests.servers.waiting import wait_for

SLOTS = 16_384

_AGAIN_SECONDS = 8.0
"""A failover by hand is given up after five (`CLUSTER_MF_TIMEOUT`), which a busy machine takes."""

_NODE_TIMEOUT_MS = 60_000
"""Silence after which nodes take each other for dead, forget who was to be met, and refuse writes:
longer than any machine takes to run them. No test has a failover that nobody asked for."""

_BUS_PORT_ABOVE = 10_000  # where 6.2 has it, and nowhere else
_KEY = re.compile(r"[a-z-]+:(\d+|hash)|a")
# What a cluster has no use for; a PING in its place keeps the replies in step.
_LEFT_OUT = {"SWAPDB", "MOVE", "FLUSHDB", "SELECT"}


def slot_of(tag: str) -> int:
    """Return the slot of a hash tag (CRC-16/XMODEM, as the cluster specification says)."""
    return binascii.crc_hqx(tag.encode(), 0) % SLOTS


def tag_in(slots: range, skip: int = 0) -> str:
    """Return a hash tag of one of these slots, `skip` of them passed over."""
    found = (f"t{n}" for n in range(10**6) if slot_of(f"t{n}") in slots)
    for _ in range(skip):
        next(found)
    return next(found)


class Shard:
    """What a load can be written to: each of its keys gets a tag that belongs to the shard.

    Attributes:
        master: The node that has the slots; change it after a failover.
    """

    def __init__(self, master: Server, tag: str) -> None:
        self.master = master
        self.tag = tag

    def client(self) -> Client:
        """Open a connection that tags keys."""
        return _TaggingClient(self.master.port, self.tag)


class _TaggingClient(Client):
    def __init__(self, port: int, tag: str) -> None:
        super().__init__(port)
        self._tag = tag

    def pipeline(self, commands: Iterable[Sequence[Argument]]) -> list[Reply]:
        return super().pipeline([self._tagged(command) for command in commands])

    def _tagged(self, command: Sequence[Argument]) -> Sequence[Argument]:
        if command[0] in _LEFT_OUT:
            return ("PING",)
        return [
            f"{{{self._tag}}}{word}" if isinstance(word, str) and _KEY.fullmatch(word) else word
            for word in command
        ]


class Cluster:
    """Three masters with all slots.

    Attributes:
        masters: The nodes that it began with.
        slots: What each of them had then.
    """

    def __init__(self, lab: Lab, program: str, masters: int = 3) -> None:
        self._lab = lab
        self._flavour = flavour(program)
        self.masters = [self._node(f"node-{number}") for number in range(masters)]
        bounds = [SLOTS * number // masters for number in range(masters + 1)]
        self.slots = [range(*pair) for pair in itertools.pairwise(bounds)]
        for number, node in enumerate(self.masters):
            node.wait_ready()
            node.call("CLUSTER", "ADDSLOTS", *self.slots[number])
            node.call("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.masters[1:]:
            self._meet(node)
        wait_for("the cluster is up", lambda: all(_is_up(node, masters) for node in self.masters))

    def shard(self, number: int, skip: int = 0) -> Shard:
        """Return what writes to one of the first masters."""
        return Shard(self.masters[number], tag_in(self.slots[number], skip))

    def replica(self, master: Server) -> Server:
        """Add a replica that is a node of the cluster, and wait until it could be promoted."""
        node = self.newcomer(master)
        node.wait_link()
        # Before that nobody answers when it asks for votes.
        entry = f"slave {node_id(master)}".encode()
        wait_for(
            "all have heard of it",
            lambda: (
                all(entry in peer.call("CLUSTER", "NODES") for peer in self.masters)
                and b"cluster_state:ok" in node.call("CLUSTER", "INFO")
            ),
        )
        return node

    def newcomer(self, master: Server) -> Server:
        """Add a node that replicates another; it has only just been told to."""
        node = self._node(f"{master.name}-replica")
        node.wait_ready()
        self._meet(node)

        def replicates() -> bool:
            try:
                return bool(node.call("CLUSTER", "REPLICATE", node_id(master)) == b"OK")
            except hiredis.ReplyError:  # it has not heard of that node yet
                return False

        wait_for(f"{node.name} has heard of its master", replicates)
        return node

    def fail_over(self, new: Server) -> None:
        """Have a replica take over from its master, which is well."""
        asked_at = float("-inf")

        def done() -> bool:
            nonlocal asked_at
            if new.info("replication")["role"] == "master":
                return True
            if time.monotonic() - asked_at > _AGAIN_SECONDS:
                new.call("CLUSTER", "FAILOVER")
                asked_at = time.monotonic()
            return False

        wait_for("the shard has another master", done)

    def move_slot(self, slot: int, source: Server, target: Server) -> None:
        """Give a slot and its keys to another master, as `redis-cli --cluster reshard` does."""
        target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", node_id(source))
        source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", node_id(target))
        while names := source.call("CLUSTER", "GETKEYSINSLOT", slot, 20):
            source.call("MIGRATE", "127.0.0.1", target.port, "", 0, 60_000, "KEYS", *names)
        for node in (target, source, *self.masters):
            node.call("CLUSTER", "SETSLOT", slot, "NODE", node_id(target))

    def move_slot_at_once(self, slot: int, source: Server, target: Server) -> None:
        """Give a slot away as Valkey 9 does it, by a stream of its own between the two."""
        source.call("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", node_id(target))

        def moved() -> bool:
            jobs = source.call("CLUSTER", "GETSLOTMIGRATIONS")
            return any(b"success" in job for job in jobs)

        wait_for(f"slot {slot} has moved", moved)

    def _node(self, name: str) -> Server:
        node = self._lab.server(
            self._flavour,
            name,
            start=False,
            cluster_enabled="yes",
            cluster_node_timeout=_NODE_TIMEOUT_MS,
        )
        if _can_choose_bus_port(self._flavour):
            node.options["cluster-port"] = str(free_port())
        while not is_free(node.port + _BUS_PORT_ABOVE):
            node.port = free_port()
        node.start()
        return node

    def _meet(self, node: Server) -> None:
        bus = node.options.get("cluster-port", node.port + _BUS_PORT_ABOVE)
        self.masters[0].call("CLUSTER", "MEET", "127.0.0.1", node.port, bus)


def node_id(node: Server) -> str:
    """Return what the cluster calls a node."""
    return str(node.call("CLUSTER", "MYID").decode())


def _can_choose_bus_port(kind: Flavour) -> bool:
    return kind.version >= (7, 0, 0)


def _is_up(node: Server, nodes: int) -> bool:
    lines = node.call("CLUSTER", "INFO").decode().split()
    return {"cluster_state:ok", f"cluster_known_nodes:{nodes}"} <= set(lines)
