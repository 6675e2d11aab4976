"""What a real server and the relay have in common: a port that speaks RESP and INFO."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import hiredis

from tests.servers.client import Argument, Client, Reply, call
from tests.servers.process import Process
from tests.servers.waiting import PATIENCE_SECONDS, wait_for


@dataclass(frozen=True, slots=True)
class Syncs:
    """How often a node had to answer a replica, as INFO stats counts."""

    full: int
    partial_ok: int
    partial_err: int


class Upstream(Protocol):
    """Whatever a replica can be pointed at: a node, or a proxy before one."""

    port: int
    tls_port: int


class Node(Process):
    """A process that replicas can follow.

    Attributes:
        port: Where it listens on 127.0.0.1; the same after each restart.
        tls_port: The same for TLS, 0 for nowhere.
        password: What clients have to give, if anything.
    """

    def __init__(self, name: str, directory: Path, port: int, *, password: str = "") -> None:
        super().__init__(name, directory)
        self.port = port
        self.tls_port = 0
        self.password = password

    def restart(self) -> None:
        """Start it again on the same port and wait until it answers."""
        self.start()
        self.wait_ready()

    def client(self) -> Client:
        """Open a connection to it."""
        return Client(self.port, password=self.password)

    def call(self, *args: Argument) -> Reply:
        """Send one command over a connection of its own."""
        return call(self.port, *args, password=self.password)

    def wait_ready(self) -> None:
        """Wait until it answers PING (a server that loads does not yet)."""

        def answers() -> bool:
            assert self.running, f"{self.name} ended: {self.log_tail}"
            try:
                return bool(self.call("PING") == b"PONG")
            except hiredis.ReplyError as exc:
                if str(exc).startswith("LOADING"):
                    return False
                raise

        wait_for(f"{self.name} answers on port {self.port}", answers)

    def info(self, *sections: str) -> dict[str, str]:
        """Return INFO as a flat mapping."""
        text = "".join(self.call("INFO", section).decode() for section in sections or ("all",))
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    @property
    def offset(self) -> int:
        """Return where its replication stream ends."""
        return int(self.info("replication")["master_repl_offset"])

    @property
    def replid(self) -> str:
        """Return the id of its replication history."""
        return self.info("replication")["master_replid"]

    @property
    def syncs(self) -> Syncs:
        """Return how it has answered its replicas since it was started."""
        stats = self.info("stats")
        return Syncs(
            int(stats["sync_full"]), int(stats["sync_partial_ok"]), int(stats["sync_partial_err"])
        )

    @property
    def link_up(self) -> bool:
        """Tell whether its own link to its master is up; a node that can't answer has none."""
        try:
            return self.info("replication").get("master_link_status") == "up"
        except (OSError, hiredis.ReplyError):
            return False

    def replicas(self) -> list[dict[str, str]]:
        """Return the `slaveN` lines of INFO, in order.

        There may be fewer than `connected_slaves`: one whose connection was reset just now has no
        address, an `rdb-only` one that has got its snapshot no state, and so neither has a line
        (`genRedisInfoString`, `replstateToString`).
        """
        info = self.info("replication")
        lines = [line for name, line in info.items() if re.fullmatch(r"slave\d+", name)]
        return [dict(pair.split("=", 1) for pair in line.split(",")) for line in lines]

    def follow(self, upstream: Upstream) -> None:
        """Re-point it (REPLICAOF)."""
        self.call("REPLICAOF", "127.0.0.1", self.upstream_port(upstream))

    def upstream_port(self, upstream: Upstream) -> int:
        """Tell where it follows this one: who has TLS follows by TLS."""
        return upstream.tls_port if self.tls_port else upstream.port

    def drop_replicas(self) -> None:
        """Cut the links of its replicas, as a short network failure does."""
        self.call("CLIENT", "KILL", "TYPE", "replica")

    def wait_link(self, timeout_seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until its link to its master is up."""
        wait_for(f"the upstream link of {self.name} is up", lambda: self.link_up, timeout_seconds)
