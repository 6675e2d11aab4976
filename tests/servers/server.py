"""A real Redis or Valkey server on loopback."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.servers.find import Flavour
from tests.servers.node import Node, Upstream
from tests.servers.ports import free_port
from tests.servers.secrets import Place, unmarked

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
    """

    def __init__(
        self,
        flavour: Flavour,
        directory: Path,
        name: str,
        options: Mapping[str, str | int],
        *,
        upstream: Upstream | None = None,
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
        self.options |= {key.replace("_", "-"): str(value) for key, value in options.items()}

    def start(self) -> None:
        # A file, because 6.2 takes no option with two values on its command line.
        lines = [f"port {self.port}"]
        lines += [f"{key} {value or chr(34) * 2}" for key, value in self.options.items()]
        if self.upstream is not None:
            lines.append(f"replicaof 127.0.0.1 {self.upstream.port}")
        config = self.directory / "server.conf"
        config.write_text("\n".join(lines) + "\n")
        self.spawn([self.flavour.binary, str(config)])

    def shown(self) -> Iterator[Place]:
        """Give nothing: it is not ours."""
        yield from ()

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
