"""The nodes of one test: made by name, ended with it, their logs shown when it fails."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.servers.certificates import Authority, Pair
from tests.servers.find import Flavour, flavours
from tests.servers.node import Node, Upstream
from tests.servers.process import Process
from tests.servers.proxy import Fault, Proxy
from tests.servers.relay import Relay
from tests.servers.sentinel import Sentinel
from tests.servers.server import Server
from tests.servers.waiting import wait_for

_N = TypeVar("_N", bound=Process)

# `server` puts a chained server of the master's own kind where the relay belongs: the oracle that
# tells a wrong test from a wrong relay.
MIDDLE = os.environ.get("REPLTAP_E2E_MIDDLE", "relay")


def flavour(name: str) -> Flavour:
    """Return a server program by name, or skip the test where it is absent."""
    found = flavours().get(name)
    if found is None:
        pytest.skip(f"{name} is absent")
    return found


class Lab:
    """Makes the nodes of one test in one temporary directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = Authority(directory / "certificates")
        self.nodes: list[Process] = []
        self.proxies: list[Proxy] = []

    def server(
        self,
        program: str | Flavour,
        name: str = "",
        *,
        upstream: Upstream | None = None,
        start: bool = True,
        tls: bool | Pair = False,
        **options: str | int,
    ) -> Server:
        """Start a server; `wait_ready` is up to the caller, so that several start at once."""
        kind = flavour(program) if isinstance(program, str) else program
        name = name or f"{kind.name}-{len(self.nodes)}"
        directory, pair = self.directory / name, self.pair(tls)
        node = Server(kind, directory, name, options, upstream=upstream, tls=pair)
        return self.add(node, start)

    def master(
        self,
        program: str | Flavour,
        name: str = "master",
        *,
        tls: bool | Pair = False,
        **options: str | int,
    ) -> Server:
        """Start a server and wait until it answers."""
        node = self.server(program, name, tls=tls, **options)
        node.wait_ready()
        return node

    def sentinels(
        self,
        program: str | Flavour,
        master: Upstream,
        count: int = 3,
        *,
        tls: bool | Pair = False,
        **options: Any,
    ) -> list[Sentinel]:
        """Start sentinels that watch a master, and wait until they know each other."""
        kind = flavour(program) if isinstance(program, str) else program
        name = str(options.pop("name", "sentinel"))
        port, pair = master.tls_port if tls else master.port, self.pair(tls)
        made = [
            Sentinel(kind, self.directory / f"{name}-{n}", f"{name}-{n}", port, tls=pair, **options)
            for n in range(count)
        ]
        for sentinel in made:
            self.add(sentinel).wait_ready()
        for sentinel in made:
            wait_for(
                "the sentinels know each other",
                lambda s=sentinel: len(s.others()) == count - 1,  # type: ignore[misc]
                60,
            )
        return made

    def relay(
        self,
        upstream: Upstream,
        name: str = "relay",
        *,
        start: bool = True,
        tls: bool | Pair = False,
        **options: str | int,
    ) -> Relay:
        """Start a relay."""
        port = upstream.tls_port if tls else upstream.port
        node = Relay(self.directory / name, name, port, options, tls=self.pair(tls))
        return self.add(node, start)

    def middle(
        self, master: Server, name: str = "middle", *, upstream: Upstream | None = None
    ) -> Node:
        """Start a relay, or the chained server that stands in for it."""
        above = upstream or master
        if MIDDLE == "relay":
            return self.relay(above, name)
        return self.server(master.flavour, name, upstream=above)

    def pair(self, tls: bool | Pair) -> Pair | None:
        """Return what a node shows: one of its own with True, of the lab's authority."""
        if isinstance(tls, bool):
            return self.authority.issue() if tls else None
        return tls

    def proxy(self, target: Node, *faults: Fault, tls: bool = False) -> Proxy:
        """Put a proxy in front of a node; it passes on bytes, whatever they are."""
        proxy = Proxy(target.tls_port if tls else target.port, *faults)
        self.proxies.append(proxy)
        return proxy

    def logs(self) -> Iterator[tuple[str, str]]:
        """Yield the name and the end of the log of each node."""
        for node in self.nodes:
            where = f" (port {node.port})" if isinstance(node, Node) else ""
            yield f"log of {node.name}{where}", node.log_tail

    def close(self) -> None:
        """End everything.

        Raises:
            AssertionError: A node has shown a secret.
        """
        try:
            for node in self.nodes:
                node.search()
        finally:
            self._end()
        found = [leak for node in self.nodes for leak in node.all_leaks()]
        assert not found, "\n".join(found)

    def _end(self) -> None:
        for proxy in self.proxies:
            proxy.close()
        for node in self.nodes:
            node.kill()
            if isinstance(node, Server):
                node.close()
        # A relay's workers outlive it by a commit, also one that a test has killed. They run in its
        # directory, as it does.
        wait_for("the end of all workers", self._none_is_left)

    def _none_is_left(self) -> bool:
        """Kill whoever is still there; again, because one may just be starting another."""
        left = _running_in(self.directory)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    def add(self, node: _N, start: bool = True) -> _N:
        """Take a node that was made elsewhere, so that it ends with the others."""
        self.nodes.append(node)
        if start:
            node.start()
        return node


def _running_in(directory: Path) -> list[int]:
    """Find the processes whose working directory is below this one."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                where = (entry / "cwd").readlink()
            except OSError:  # it is gone, or a zombie
                continue
            if where.is_relative_to(directory):
                found.append(int(entry.name))
    return found


@contextmanager
def laboratory() -> Iterator[Lab]:
    """Give a lab and end its nodes afterwards."""
    with tempfile.TemporaryDirectory(prefix="repltap-") as directory:
        lab = Lab(Path(directory))
        try:
            yield lab
        finally:
            lab.close()
