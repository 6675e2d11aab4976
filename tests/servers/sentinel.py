"""A real redis-sentinel, or a Valkey one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.servers.certificates import Pair
from tests.servers.find import Flavour
from tests.servers.node import Node
from tests.servers.ports import free_port
from tests.servers.waiting import wait_for

MASTER_NAME = "mymaster"
PATIENT_MS = 60_000
"""Silence after which a server is dead, at first: longer than any machine takes to run it. What
dies is left to the test, which says so with `watchful`. A failover that nobody asked for is not
only slow: Sentinel may go back on it, and lose what WAIT has confirmed meanwhile."""

_WATCHFUL_MS = 1000
_NAMES = ("sentinel resolve-hostnames yes", "sentinel announce-hostnames yes")


class Sentinel(Node):
    """One sentinel: a server program in its other mode.

    Args:
        master_port: Whom it watches at first.
        quorum: How many must take the master for dead.
        down_ms: Silence after which it takes a server for dead, unless it is `watchful`.
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
        down_ms: int = PATIENT_MS,
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
        self.down_ms = down_ms
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
        return [_fields(row) for row in self.call("SENTINEL", what, self.master_name)]

    def master(self) -> dict[str, str]:
        """Return what it knows of the master."""
        return _fields(self.call("SENTINEL", "MASTER", self.master_name))

    def replicas(self) -> list[dict[str, str]]:
        """Return what it knows of the replicas."""
        return self._table("SLAVES")

    def others(self) -> list[dict[str, str]]:
        """Return what it knows of the other sentinels."""
        return self._table("SENTINELS")

    def expect(self, down_ms: int) -> None:
        """Set the silence after which it takes a server for dead."""
        self.call("SENTINEL", "SET", self.master_name, "down-after-milliseconds", down_ms)

    def wait_ready(self) -> None:
        """Wait until it answers; let it look around more often than each second, and ten."""
        super().wait_ready()
        if self.flavour.vendor == "valkey" or self.flavour.version >= (7,):
            # One that the machine stops for 2 s would do nothing for another 30 (its TILT mode).
            words = ("INFO-PERIOD", 300, "PUBLISH-PERIOD", 400, "TILT-TRIGGER", PATIENT_MS)
            self.call("SENTINEL", "DEBUG", *words)


def _fields(row: list[bytes]) -> dict[str, str]:
    return {k.decode(): v.decode() for k, v in zip(row[::2], row[1::2], strict=True)}


@contextmanager
def watchful(sentinels: Sequence[Sentinel]) -> Iterator[None]:
    """Let them notice, inside, that a server is dead: who has killed it waits here for the next."""
    for sentinel in sentinels:
        sentinel.expect(_WATCHFUL_MS)
    yield
    for sentinel in sentinels:
        sentinel.expect(sentinel.down_ms)


def wait_settled(sentinels: Sequence[Sentinel], master: Node, *replicas: Node) -> None:
    """Wait until they agree on the master and its replicas, and none is amid a failover.

    A sentinel that leads a failover takes the old master for the master until all replicas have
    moved. When the new one goes meanwhile it points them back at the old one, if that is there as a
    master still (`sentinelFailoverDetectEnd` waits for the promoted one, `+fix-slave-config` in
    `sentinelRefreshInstanceInfo` does not): what was written to the new one is lost, whoever had
    confirmed it.

    Args:
        master: Who should be the master.
        replicas: All that should be below it.
    """
    port, *others = (str(node.tls_port or node.port) for node in (master, *replicas))
    known = dict.fromkeys(others, ("slave", "ok", port))

    def agree() -> bool:
        epochs = set()
        for sentinel in sentinels:
            seen = sentinel.master()
            below = {
                each["port"]: (each["flags"], each["master-link-status"], each["master-port"])
                for each in sentinel.replicas()
            }
            if (seen["port"], seen["flags"], below) != (port, "master", known):
                return False
            epochs.add(seen["config-epoch"])
        return len(epochs) == 1

    wait_for(f"{master.name} is the master, for all sentinels", agree, 60)


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
