"""A real Redis or Valkey server on loopback."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.servers.certificates import Pair
from tests.servers.find import Feature, Flavour
from tests.servers.node import Node, Upstream
from tests.servers.ports import free_port
from tests.servers.secrets import Place, unmarked
from tests.servers.tunnel import Tunnel

QUIET = {"repl_ping_replica_period": 3600}
"""Options of a master that sends no PING, as long as any test lasts."""

# Quick to sync, no files of its own accord, and a backlog that outlives what a test writes.
_DEFAULTS = {
    "bind": "127.0.0.1",
    "protected-mode": "no",
    "save": "",
    "appendonly": "no",
    "repl-diskless-sync": "yes",
    "repl-diskless-sync-delay": "0",
    "repl-backlog-size": "128mb",
    "maxclients": "400",
}


class Server(Node):
    """One server.

    Args:
        flavour: Which program.
        directory: Its own working directory.
        upstream: The node it replicates from its start on.
        options: Settings as in redis.conf, with `_` for `-`.
        tls: It listens with this at `tls_port`, too, asks clients for a certificate there, and
            replicates by TLS. Where its build has no TLS, tunnels do that for it.
    """

    def __init__(
        self,
        flavour: Flavour,
        directory: Path,
        name: str,
        options: Mapping[str, str | int],
        *,
        upstream: Upstream | None = None,
        tls: Pair | None = None,
    ) -> None:
        super().__init__(
            name, directory, free_port(), password=str(options.get("requirepass") or "")
        )
        assert not list(unmarked(options)), "make it with tests.servers.secrets.secret()"
        self.flavour = flavour
        self.upstream = upstream
        self.options = dict(_DEFAULTS)
        if flavour.has_debug_switch:
            self.options["enable-debug-command"] = "yes"
        self._tunnels: list[Tunnel] = []
        self._tls = tls
        if tls is not None:
            self._secure(tls)
        self.options |= {key.replace("_", "-"): str(value) for key, value in options.items()}

    def start(self) -> None:
        # A file, because 6.2 takes no option with two values on its command line.
        lines = [f"port {self.port}"]
        lines += [f"{key} {value or chr(34) * 2}" for key, value in self.options.items()]
        if self.upstream is not None:
            lines.append(f"replicaof 127.0.0.1 {self.upstream_port(self.upstream)}")
        config = self.directory / "server.conf"
        config.write_text("\n".join(lines) + "\n")
        self.spawn([self.flavour.binary, str(config)])

    def shown(self) -> Iterator[Place]:
        """Give nothing: it is not ours."""
        yield from ()

    def _secure(self, tls: Pair) -> None:
        if Feature.TLS not in self.flavour.features:
            self._tunnels.append(Tunnel(self.port, tls, outward=False))
            self.tls_port = self._tunnels[0].port
            return
        self.tls_port = free_port()
        self.options |= {
            "tls-port": str(self.tls_port),
            "tls-replication": "yes",
            "tls-auth-clients": "yes",
        }
        self.options |= {key.replace("_", "-"): str(v) for key, v in tls.options("tls_").items()}

    def upstream_port(self, upstream: Upstream) -> int:
        """Tell where it follows this one."""
        if not self._tunnels:
            return super().upstream_port(upstream)
        assert self._tls is not None
        self._tunnels.append(Tunnel(upstream.tls_port, self._tls, outward=True))
        return self._tunnels[-1].port

    def close(self) -> None:
        """End what was started beside it."""
        for tunnel in self._tunnels:
            tunnel.close()

    def keep_quiet(self) -> None:
        """Let its replicas be sent nothing but what is written: no PING, no DEL of what expires."""
        self.call("CONFIG", "SET", "repl-ping-replica-period", 3600)
        self.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)

    def digest(self) -> str:
        """Return DEBUG DIGEST: equal for equal datasets, whatever the version."""
        reply = self.call("DEBUG", "DIGEST")
        return str(reply.decode())

    @property
    def full_syncs_received(self) -> int:
        """Return how many full syncs it went through, from its log over all its lives."""
        return self.log.count("<-> REPLICA sync: Finished with success")

    @property
    def partial_syncs_received(self) -> int:
        """Return how many of its attempts were continued, from its log over all its lives."""
        return len(re.findall(r"Successful partial resynchronization with", self.log))
