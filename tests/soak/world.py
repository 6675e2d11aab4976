"""The nodes of one episode, their roles and the wires between them.

Every follower reaches every node above it through a proxy of its own, so that a fault can hit one
link alone. Faults run in threads at the same time: whoever ends, freezes or starts a process holds
that node meanwhile (`held`); who can't get it in time leaves it.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import hiredis

from tests.servers.client import Client
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.node import Node
from tests.servers.proxy import Proxy
from tests.servers.relay import Relay
from tests.servers.server import Server
from tests.servers.waiting import wait_for
from tests.soak.ledger import Ledger
from tests.soak.topology import TMPFS_BYTES, Disk, Topology

_HOLD_SECONDS = 4.0
_FIRST_STEPS = 400
"""Of load before anybody follows: the first snapshots are to hold something."""

DAMAGED_EXIT = 5


class BusyError(Exception):
    """Another fault has the node in its hands."""


class SoakRelay(Relay):
    """A relay of the soak; `clock` is the file that moves its wall clock, None for none.

    Attributes:
        lives: How often it was started.
    """

    clock: Path | None = None
    lives = 0

    def command(self) -> list[str]:
        command = super().command()
        if self.clock is None:
            return command
        # `python -m repltap ...` becomes `python -m tests.soak.clockwork FILE ...`.
        return [sys.executable, "-m", "tests.soak.clockwork", str(self.clock), *command[3:]]

    def start(self) -> None:
        self.lives += 1
        super().start()


class World:
    """One episode.

    Args:
        lab: Owns the processes.
        topology: What to build.
        ledger: Keeps the full syncs.

    Attributes:
        master: The server that is written to.
        native: The replica beside the relays that a failover promotes.
        relays, replicas: In the topology's order; a replica may follow anybody.
        witness: Another native replica, or None.
        above: Whom each follower follows, or will when it is there again.
        refusals: How often a relay refused to start on a damaged store.
        refused: What had been done to those stores.
        damages: What was done in this round to stores that are still in use.
    """

    def __init__(self, lab: Lab, topology: Topology, ledger: Ledger) -> None:
        self.lab = lab
        self.topology = topology
        self.ledger = ledger
        self.refusals = 0
        self.refused: list[str] = []
        self.damages: dict[Relay, list[str]] = {}
        self.above: dict[Node, Node] = {}
        self._wires: dict[tuple[Node, Node], Proxy] = {}
        self._wires_lock = threading.Lock()
        self._above_lock = threading.Lock()
        self._locks: dict[Node, threading.Lock] = {}
        self._newcomers = 0
        self._throne = threading.Lock()
        self._mounts: list[Path] = []
        self.master = self._server("alpha")
        self.native = self._server("beta")
        self.witness = self._server("witness") if topology.witness else None
        self.relays = [self._relay(number) for number in range(len(topology.relays))]
        self.replicas = [
            self._server(f"replica-{number + 1}", number)
            for number in range(len(topology.replicas))
        ]
        self._locks = {node: threading.Lock() for node in self.nodes}

    # -- who is there ----------------------------------------------------------------------------

    @property
    def nodes(self) -> list[Node]:
        """Return everybody."""
        return [*self.servers, *self.relays]

    @property
    def servers(self) -> list[Server]:
        """Return all real servers."""
        witness = [self.witness] if self.witness else []
        return [self.master, self.native, *witness, *self.replicas]

    @property
    def followers(self) -> list[Node]:
        """Return everybody but the master, upper ones first."""
        return [node for node in (*self.relays, *self.servers) if node is not self.master]

    def client(self) -> Client:
        """Open a connection to whoever is the master now: what the load writes to."""
        return Client(self.master.port, timeout_seconds=10)

    def wire(self, follower: Node, upstream: Node) -> Proxy:
        """Return the proxy through which one reaches the other."""
        with self._wires_lock:
            key = (follower, upstream)
            if key not in self._wires:
                self._wires[key] = self.lab.proxy(upstream)
            return self._wires[key]

    def wire_above(self, follower: Node) -> Proxy:
        """Return the proxy of a follower's link."""
        return self.wire(follower, self.above[follower])

    def below(self, node: Node) -> list[Node]:
        """Return everybody who hangs on a node, directly or not."""
        direct = [follower for follower, upstream in self.above.items() if upstream is node]
        return direct + [deeper for follower in direct for deeper in self.below(follower)]

    def relay_above(self, node: Node) -> Node | None:
        """Return the relay that a node follows, None if it follows a server."""
        upstream = self.above.get(node)
        return upstream if upstream in self.relays else None

    # -- building --------------------------------------------------------------------------------

    def start(self) -> None:
        """Start everybody and wait until all links are up."""
        self.master.start()
        self.master.wait_ready()
        Load(self.master, features=self.topology.features, seed=20).write(_FIRST_STEPS)
        for follower in (self.native, self.witness):
            if follower is not None:
                self.place(follower, self.master)
        for relay, chained in zip(self.relays, self.topology.relays, strict=True):
            upper = self.relays[self.relays.index(relay) - 1]
            self.place(relay, upper if chained else self.master)
        for replica, (_, at) in zip(self.replicas, self.topology.replicas, strict=True):
            self.place(replica, self.relays[at])
        for follower in self.followers:
            follower.start()
        for follower in self.followers:
            follower.wait_ready()

    def close(self) -> None:
        """Give back what outlives the processes."""
        for node in self.nodes:
            if node.running:
                with suppress(ProcessLookupError):
                    node.thaw()
        self.lab.close()
        for mount in self._mounts:
            subprocess.run(["umount", "-l", mount], check=False, capture_output=True)

    def _server(self, name: str, replica: int | None = None) -> Server:
        flavour = self.topology.master
        if replica is not None:
            flavour = self.topology.replicas[replica][0]
        options = self.topology.server_options
        return self.lab.add(Server(flavour, self.lab.directory / name, name, options), start=False)

    def _relay(self, number: int) -> SoakRelay:
        name = f"relay-{number + 1}"
        relay = SoakRelay(self.lab.directory / name, name, 1, self.topology.relay_options)
        if self.topology.jumpy_clock:
            relay.clock = relay.directory / "clock"
        if self.topology.disk is Disk.TMPFS:
            place = relay.directory / "small"
            place.mkdir()
            size = f"size={TMPFS_BYTES}"
            subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", place], check=True)
            self._mounts.append(place)
            relay.data_dir = place / "data"
        return self.lab.add(relay, start=False)

    # -- changing --------------------------------------------------------------------------------

    def place(self, follower: Node, upstream: Node) -> None:
        """Set whom a follower follows from its next start on."""
        with self._above_lock:
            # Another dictionary each time: faults in other threads look through it.
            self.above = {**self.above, follower: upstream}
        self.ledger.moved(follower, upstream)
        port = self.wire(follower, upstream).port
        if isinstance(follower, Relay):
            follower.upstream_url = f"redis://127.0.0.1:{port}"
        elif isinstance(follower, Server):
            follower.upstream = self.wire(follower, upstream)

    def point(self, follower: Node, upstream: Node) -> None:
        """Re-point a follower, now if it answers, else when it is started (see `reconcile`)."""
        self.place(follower, upstream)
        with suppress(OSError, hiredis.ReplyError):
            follower.follow(self.wire(follower, upstream))

    def crown(self, server: Server) -> None:
        """Let the native replica be the master from now on, and the master the native replica."""
        assert server is self.native
        self.place(self.master, server)
        self.master, self.native = self.native, self.master
        with self._above_lock:
            self.above = {node: above for node, above in self.above.items() if node is not server}
        server.upstream = None

    def reconcile(self) -> None:
        """Point everybody where they belong: a fault may have met them when they did not listen."""
        for follower, upstream in list(self.above.items()):
            if upstream not in (self.master, *self.relays):
                # It was moved to a master that was replaced at that moment.
                upstream = self.master
                self.place(follower, upstream)
            wanted = self.wire(follower, upstream)

            def points(follower: Node = follower, wanted: Proxy = wanted) -> bool:
                try:
                    if follower.info("replication").get("master_port") == str(wanted.port):
                        return True
                    follower.follow(wanted)
                except hiredis.ReplyError:
                    pass
                return False

            wait_for(f"{follower.name} is pointed at {upstream.name}", points)

    @contextmanager
    def held(self, *nodes: Node) -> Iterator[None]:
        """Have nodes for oneself.

        Raises:
            BusyError: Another fault has one of them and does not give it back soon.
        """
        with ExitStack() as stack:
            for node in sorted(nodes, key=lambda n: n.name):
                lock = self._locks[node]
                if not lock.acquire(timeout=_HOLD_SECONDS):
                    raise BusyError(node.name)
                stack.callback(lock.release)
            yield

    @contextmanager
    def reign(self) -> Iterator[None]:
        """Have the master and the native replica for oneself, and the say who is which.

        Raises:
            BusyError: As `held`.
        """
        if not self._throne.acquire(timeout=_HOLD_SECONDS):
            raise BusyError("the throne")
        try:
            with self.held(self.master, self.native):
                yield
        finally:
            self._throne.release()

    def start_again(self, relay: Relay) -> None:
        """Start a relay that is held, and don't wait for it unless it may refuse its store."""
        if relay in self.damages:
            self.revive(relay)
        else:
            relay.start()

    def revive(self, node: Node) -> None:
        """Start a node that is held; a relay that refuses its store gets a new one.

        Raises:
            AssertionError: It ended otherwise, or did not answer.
        """
        node.start()
        if not isinstance(node, Relay):
            node.wait_ready()
            return
        wait_for(f"{node.name} answers or ends", lambda: not node.running or _answers(node))
        if node.running:
            return
        code = node.wait()
        last = node.log.rstrip().rpartition("\n")[2]
        assert code == DAMAGED_EXIT, f"{node.name} ended with code {code} at its start: {last}"
        assert str(node.data_dir) in last, f"{node.name} refused without naming a file: {last}"
        self.refusals += 1
        self.refused += self.damages.pop(node, [])
        # What the operator does.
        self.ledger.excuse(node, "the relay refused a damaged store")
        self.wipe(node)
        node.restart()

    def wipe(self, relay: Relay) -> None:
        """Take the data directory of a relay that is held and ended out of its way."""
        self.damages.pop(relay, None)
        shutil.rmtree(relay.data_dir)

    def damaged(self, relay: Relay, what: str) -> None:
        """Note a damage to the store of a relay."""
        self.damages.setdefault(relay, []).append(what)

    def newcomer(self, relay: Node) -> Server:
        """Make another replica, which is not among the nodes; `dismiss` it."""
        self._newcomers += 1
        name = f"newcomer-{self._newcomers}"
        options = self.topology.server_options
        flavour = self.topology.master
        server = Server(flavour, self.lab.directory / name, name, options)
        server.upstream = self.wire(server, relay)
        self.ledger.strange_sync(relay)
        return self.lab.add(server, start=False)

    def dismiss(self, newcomer: Server) -> None:
        """Forget one."""
        self.lab.nodes.remove(newcomer)
        shutil.rmtree(newcomer.directory)

    def calm(self) -> None:
        """Let every byte pass again, and end what faults have left behind on the wires."""
        for proxy in self._wires.values():
            proxy.faults.clear()
            proxy.weather.clear()


def _answers(node: Node) -> bool:
    try:
        return bool(node.call("PING") == b"PONG")
    except OSError:
        return False


def linger(rng: random.Random, lowest: float, highest: float) -> float:
    """Let real time pass, as much as the seed says: the moment of a fault is what is random."""
    seconds = rng.uniform(lowest, highest)
    time.sleep(seconds)
    return seconds
