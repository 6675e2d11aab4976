"""A master with all that can stand below it in a failover, and an oracle where the relay stands."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.servers.borders import ask, names, questions
from tests.servers.dataset import wait_same
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.node import Node
from tests.servers.proxy import Action, Direction, Fault
from tests.servers.relay import Relay
from tests.servers.server import QUIET, Server
from tests.servers.waiting import wait_for


def full_syncs(node: Server | Relay) -> int:
    """Return how many full syncs a node was granted, over all its lives."""
    if isinstance(node, Relay):
        return node.log.count("gives a full resync")
    return node.full_syncs_received


class Shire:
    """A master, one that is to be promoted, and an oracle, a relay and all below it.

    Attributes:
        master: Who is master now.
        other: Its replica, the next master.
        oracle: A native replica that stands where the relay stands.
        below, lower: Replicas of the relay and of a relay below it.
    """

    def __init__(self, lab: Lab, program: str, **options: str) -> None:
        self.master = lab.master(program, "one", **QUIET)
        self.features = self.master.flavour.features
        self.write(120)
        self.other = lab.server(program, "two", upstream=self.master, **QUIET)
        self.wires = {name: lab.proxy(self.master) for name in ("two", "oracle", "relay")}
        self.other.wait_ready()
        self.other.follow(self.wires["two"])
        self.oracle = lab.server(program, "oracle", upstream=self.wires["oracle"], **QUIET)
        self.relay = lab.relay(self.wires["relay"], "relay", **options)
        self.sub = lab.relay(self.relay, "sub")
        self.below = lab.server(program, "below", upstream=self.relay, **QUIET)
        self.lower = lab.server(program, "lower", upstream=self.sub, **QUIET)
        for node in (self.other, self.oracle, self.below, self.lower):
            node.wait_link(60)  # seven processes begin at once
        for master in (self.master, self.other):
            master.keep_quiet()  # borders must not move by themselves
        self.write(60)
        self.settle()

    @property
    def everybody(self) -> tuple[Server, ...]:
        """Return all that have to hold what the master holds."""
        return self.oracle, self.below, self.lower

    def write(self, steps: int, seed: int = 1) -> None:
        """Write to whoever is master."""
        Load(self.master, features=self.features, seed=seed).write(steps)

    def settle(self, *more: Server) -> None:
        """Wait until everybody has what the master has, under the name that it has there."""
        for node in (self.oracle, self.relay, self.sub, self.below, self.lower):
            wait_follows(node, self.master)
        wait_same(self.master, *self.everybody, *more)

    def drift(self, behind: int, seed: int = 2) -> None:
        """Write what only some get.

        Args:
            behind: How many steps the other one does not get; below 0 for what it alone gets.
            seed: Of what is written.
        """
        late = ["two"] if behind > 0 else ["oracle", "relay"]
        for name in late:
            self.wires[name].weather.stall()
        self.write(abs(behind), seed)
        for node in [self.oracle, self.relay] if behind > 0 else [self.other]:
            wait_for(f"{node.name} has it all", lambda n=node: n.offset == self.master.offset)

    def promote(self, *, lead: bool = True) -> None:
        """Kill the master and let the other one be it.

        Args:
            lead: The oracle and the relay are pointed at it; else they reach nobody.
        """
        old, new = self.master, self.other
        self.kill_links()
        old.kill()
        new.call("REPLICAOF", "NO", "ONE")
        self.master, self.other = new, old
        if lead:
            self.lead(new)

    def hand_over(self) -> None:
        """Let the other one be master; the one that was reaches nobody, until `rejoin`."""
        self.kill_links()
        self.other.call("REPLICAOF", "NO", "ONE")
        self.master, self.other = self.other, self.master
        self.lead(self.master)

    def rejoin(self) -> None:
        """Let the one that was master follow the new one, with what it has."""
        self.wires["two"].target_port = self.master.port
        self.wires["two"].weather.clear()
        self.other.follow(self.wires["two"])

    def kill_links(self) -> None:
        """Cut all links to the master for good, and let nothing of what they hold through."""
        for wire in self.wires.values():
            wire.weather.refusing = True
            wire.cut()
            wire.weather.flow()  # into what is closed

    def lead(self, new: Server) -> None:
        """Point the ways of the oracle and of the relay at this server."""
        for name in ("oracle", "relay"):
            self.wires[name].target_port = new.port
            self.wires[name].weather.clear()

    def come_back(self) -> None:
        """Start the old master as a replica of the new one."""
        self.other.upstream = self.master
        self.other.restart()
        self.other.wait_link()
        self.wires["two"].target_port = self.master.port
        self.wires["two"].weather.clear()
        self.other.follow(self.wires["two"])
        self.other.keep_quiet()

    def granted(self) -> list[int]:
        """Return the full syncs of the oracle and of the relay."""
        return [full_syncs(self.oracle), full_syncs(self.relay)]

    def compare_borders(self, *older: str, ahead: bool = False) -> None:
        """Compare the oracle with the relay, and that with the one below it, byte by byte."""
        said = names(self.oracle)
        for node in (self.relay, self.sub):
            assert names(node) == said, (node.name, names(node), said)
        kind = self.oracle.flavour
        asked = questions(said, *older, ahead=ahead)
        expected = [ask(self.oracle, kind, *question, said.end) for question in asked]
        # Side by side: who is ahead of the journal is held for three seconds.
        whom = [(node, question) for node in (self.relay, self.sub) for question in asked]
        with ThreadPoolExecutor(len(whom)) as pool:
            answers = list(pool.map(lambda one: ask(one[0], kind, *one[1], end=said.end), whom))
        for (node, question), answer, right in zip(whom, answers, 2 * expected, strict=True):
            assert answer == right, (node.name, question, said)


def cut_off(shire: Shire, late: list[str], place: bytes, after: int) -> None:
    """Write a transaction and a large value, of which these get a part, up to the same byte."""
    fault = Fault(direction=Direction.TO_CLIENT, action=Action.STALL, at=place, after_bytes=after)
    for name in late:
        shire.wires[name].faults.append(fault)
        shire.wires[name].cut()
    nodes = {"oracle": shire.oracle, "relay": shire.relay, "two": shire.other}
    for name in late:
        wait_for(f"{name} is back", lambda n=name: not shire.wires[n].faults and nodes[n].link_up)
    before = shire.relay.offset
    with shire.master.client() as client:
        values = [("SET", f"part:{n}", "value " * 200) for n in range(8)]
        client.pipeline([("MULTI",), *values, ("EXEC",)])
        client.call("SET", "large-value", "x" * 400_000)
    for name in late:
        wait_for(f"{name} gets no more", lambda n=name: shire.wires[n].has_stalled)
    wait_for("the relay has a part", lambda: shire.relay.offset >= before + after)
    assert shire.relay.offset < shire.master.offset


def wait_follows(node: Node, master: Node) -> None:
    """Wait until a node is up, under the name of the master's history."""
    wait_for(
        f"{node.name} follows {master.name}",
        lambda: node.link_up and node.replid == master.replid,
    )
