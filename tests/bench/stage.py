"""The nodes of one measurement: a master, and what stands in the middle."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tests.servers.certificates import Pair
from tests.servers.find import Flavour, flavours
from tests.servers.lab import Lab
from tests.servers.node import Node
from tests.servers.relay import Relay
from tests.servers.server import Server

_READY_SECONDS = 180.0


class Variant(Enum):
    """Whom the replicas follow."""

    DIRECT = "direct"
    CHAINED = "chained"
    RELAY = "relay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured, and with what.

    Attributes:
        server: The program of the master and of the chained server.
        null: Put a chained server in the relay's place too: the ratios must come out as 1.
        repeats: Runs of each variant; the median counts.
        counts: Numbers of replicas for the stream of `writes` SETs.
        samples, per_second: Paced writes for the latency.
        keys, spacing_seconds: For the four replicas that attach one after the other.
        herd_bytes: For the hundred that attach at once.
        sync_delay: The servers' `repl-diskless-sync-delay`, in seconds.
        profile: Where the relay writes a cProfile, if anywhere; it is several times slower then.
    """

    server: Flavour
    null: bool = False
    repeats: int = 3
    counts: tuple[int, ...] = (1, 8, 32)
    writes: int = 1_500_000
    samples: int = 3_000
    per_second: int = 1_000
    keys: int = 3_000_000
    spacing_seconds: float = 2.0
    herd_bytes: int = 1 << 30
    sync_delay: int = 0
    profile: Path | None = None

    @property
    def options(self) -> dict[str, str | int]:
        """Return the settings of the master, and of the chained server in the same words."""
        return {
            # Slower than the master for a while must not mean cut off: that would be a full sync.
            "client_output_buffer_limit": "replica 0 0 0",
            "repl_diskless_sync_delay": self.sync_delay,
            # What DEBUG POPULATE makes would compress to nothing.
            "rdbcompression": "no",
        }


def choose_server() -> Flavour:
    """Return the Redis that the relay is compared with: 7.0, where Debian has put it, or 8.2.

    Raises:
        LookupError: Neither is there.
    """
    found = flavours()
    for name in ("redis-7.0", "redis-8.2"):
        if name in found:
            return found[name]
    raise LookupError("neither redis-7.0 nor redis-8.2 is present (python -m tests.servers.find)")


def start_master(lab: Lab, plan: Plan, tls: Pair | None = None) -> Server:
    """Start an empty master."""
    master = Server(plan.server, lab.directory / "master", "master", plan.options, tls=tls)
    _start(lab, master)
    master.wait_ready()
    return master


def start_middle(
    lab: Lab,
    plan: Plan,
    variant: Variant,
    master: Server,
    options: Mapping[str, str | int] | None = None,
    tls: Pair | None = None,
) -> Node:
    """Start what the replicas will follow, and wait until it is in step with the master.

    `options` are further settings of the relay; with `tls` it follows and is followed by TLS.
    """
    if variant is Variant.DIRECT:
        return master
    directory = lab.directory / "middle"
    middle: Node
    if variant is Variant.CHAINED or plan.null:
        middle = Server(plan.server, directory, "middle", plan.options, upstream=master, tls=tls)
    elif plan.profile is not None:
        middle = _ProfiledRelay(directory, "middle", master.port, {})
        middle.profile = plan.profile
    else:
        above = master.tls_port if tls else master.port
        middle = Relay(directory, "middle", above, options or {}, tls=tls)
    _start(lab, middle)
    middle.wait_ready()
    middle.wait_link(_READY_SECONDS)
    return middle


def _start(lab: Lab, node: Node) -> None:
    lab.nodes.append(node)  # the lab ends it
    node.start()


class _ProfiledRelay(Relay):
    profile: Path

    def command(self) -> list[str]:
        _, _, package, *arguments = super().command()
        assert package == "repltap"
        return [
            sys.executable,
            "-m",
            "cProfile",
            "-o",
            str(self.profile),
            "-m",
            package,
            *arguments,
        ]
