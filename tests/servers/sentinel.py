"""A real redis-sentinel, or a Valkey one."""

from __future__ import annotations

import time
from pathlib import Path

from tests.servers.certificates import Pair
from tests.servers.find import Flavour
from tests.servers.node import Node
from tests.servers.ports import free_port
from tests.servers.waiting import wait_for

MASTER_NAME = "mymaster"
_NAMES = ("sentinel resolve-hostnames yes", "sentinel announce-hostnames yes")


class Sentinel(Node):
    """One sentinel: a server program in its other mode.

    Args:
        master_port: Whom it watches at first.
        quorum: How many must take the master for dead.
        down_ms: Silence after which it takes a server for dead; real deployments have seconds.
        host: Of the master; a name is resolved, and announced as it is.
        tls: It speaks TLS with the servers and with other sentinels, and listens with this at
            `tls_port`, too, where it asks for a certificate.
        lines: Further lines of its configuration.
    """

    def __init__(
        self,
        flavour: Flavour,
        directory: Path,
        name: str,
        master_port: int,
        *,
        quorum: int = 2,
        down_ms: int = 600,
        failover_ms: int = 6000,
        master_name: str = MASTER_NAME,
        password: str = "",
        host: str = "127.0.0.1",
        tls: Pair | None = None,
        lines: tuple[str, ...] = (),
    ) -> None:
        super().__init__(name, directory, free_port(), password=password)
        self.flavour = flavour
        self.tls_port = free_port() if tls else 0
        self.master_name = master_name
        self._lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            "protected-mode no",
            f"dir {directory}",
            *(_NAMES if host[-1].isalpha() else ()),
            f"sentinel monitor {master_name} {host} {master_port} {quorum}",
            f"sentinel down-after-milliseconds {master_name} {down_ms}",
            f"sentinel failover-timeout {master_name} {failover_ms}",
            f"sentinel parallel-syncs {master_name} 8",
            *(self._secured(tls) if tls else ()),
            *lines,
        ]

    def _secured(self, tls: Pair) -> list[str]:
        lines = [f"tls-port {self.tls_port}", "tls-replication yes", "tls-auth-clients yes"]
        files = tls.options("tls-").items()
        return lines + [f"{key.replace('_', '-')} {file}" for key, file in files]

    def start(self) -> None:
        # It rewrites its file: what it has learnt outlives it.
        config = self.directory / "sentinel.conf"
        if not config.exists():
            config.write_text("\n".join(self._lines) + "\n")
        self.spawn([self.flavour.binary, str(config), "--sentinel"])

    def master_port(self) -> int:
        """Return where it says that the master is."""
        return int(self.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.master_name)[1])

    def _table(self, what: str) -> list[dict[str, str]]:
        rows = self.call("SENTINEL", what, self.master_name)
        return [
            {k.decode(): v.decode() for k, v in zip(row[::2], row[1::2], strict=True)}
            for row in rows
        ]

    def replicas(self) -> list[dict[str, str]]:
        """Return what it knows of the replicas."""
        return self._table("SLAVES")

    def others(self) -> list[dict[str, str]]:
        """Return what it knows of the other sentinels."""
        return self._table("SENTINELS")

    def hurry(self) -> None:
        """Let it look around more often than each second, and ten: for Redis 7.0 and later."""
        self.call("SENTINEL", "DEBUG", "INFO-PERIOD", 300, "PUBLISH-PERIOD", 400)


_AGAIN_SECONDS = 8.0
"""A failover may be given up, on a busy machine: after its time-out in `Sentinel`."""


def failover(sentinel: Sentinel, old: Node) -> None:
    """Ask for a failover, again where it was given up, until it names another master."""
    asked_at = float("-inf")

    def done() -> bool:
        nonlocal asked_at
        if sentinel.master_port() != old.port:
            return True
        if time.monotonic() - asked_at > _AGAIN_SECONDS:
            # -INPROG and -NOGOODSLAVE come while it has not seen enough yet.
            with sentinel.client() as client:
                command = ("SENTINEL", "FAILOVER", sentinel.master_name)
                if client.pipeline([command])[0] == b"OK":
                    asked_at = time.monotonic()
        return False

    wait_for("another master", done, 60)
