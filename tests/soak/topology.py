"""What an episode is made of: which servers, how they hang together, how the relays are set up.

All of it follows from (seed, episode): nothing here reads a clock or touches a process.
"""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import dataclass
from enum import Enum

from tests.servers.find import Feature, Flavour

REPL_TIMEOUT_SECONDS = 4
"""Of every node. Longer than a busy machine's hiccups, short enough for a stall to outlast it."""

VALKEY_RDB = 80
"""The RDB version from which on a format is Valkey's own."""

_QUOTA = "48mb"
TMPFS_BYTES = 96 << 20


class Disk(Enum):
    """Where the relays keep their data."""

    PLAIN = "plain"
    QUOTA = "quota"
    TMPFS = "tmpfs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """One episode's nodes.

    Attributes:
        master: Flavour of the master and of the native replicas, which may be promoted.
        features: What the load may use: what everybody knows.
        witness: Whether a second native replica stands beside the relays.
        relays: For each relay whether it follows the one before (else the master).
        replicas: Flavour of each replica, and the number of the relay it begins at.
        server_options, relay_options: Settings of all servers, of all relays.
        disk: Where the relays keep their data.
        jumpy_clock: The relays run under `clockwork`, so that their wall clock can be moved.
    """

    master: Flavour
    features: frozenset[Feature]
    witness: bool
    relays: tuple[bool, ...]
    replicas: tuple[tuple[Flavour, int], ...]
    server_options: dict[str, str]
    relay_options: dict[str, str]
    disk: Disk
    jumpy_clock: bool

    @property
    def needs_other_formats(self) -> bool:
        """Tell whether a replica can't load the RDB that the relay asks for by itself."""
        return any(f.rdb_version < self.master.rdb_version for f, _ in self.replicas)

    def __str__(self) -> str:
        chain = "".join(" -> relay" if chained else " | relay" for chained in self.relays)
        replicas = ", ".join(f"{flavour.name} at relay {at + 1}" for flavour, at in self.replicas)
        extra = " + witness" if self.witness else ""
        clock = ", jumpy clock" if self.jumpy_clock else ""
        options = {k: v for k, v in self.relay_options.items() if k.startswith("store_")}
        return (
            f"{self.master.name} + native{extra}{chain}; {replicas}; disk {self.disk.value}{clock}"
            f"; {options}"
        )


def draw_topology(rng: random.Random, flavours: dict[str, Flavour]) -> Topology:
    """Draw an episode.

    Args:
        rng: Of the episode.
        flavours: The servers that this machine has.
    """
    master = rng.choice(sorted(flavours.values(), key=lambda f: f.name))
    relays = (False,) if rng.random() < 0.45 else (False, rng.random() < 0.75)
    mixed = rng.random() < 0.6
    followers = [f for f in flavours.values() if _may_follow(f, master)] if mixed else [master]
    followers.sort(key=lambda f: f.name)
    replicas = tuple(
        (rng.choice(followers), rng.randrange(len(relays))) for _ in range(rng.randint(1, 3))
    )
    features = master.features.intersection(*(f.features for f, _ in replicas))
    if any(f.rdb_version < VALKEY_RDB for f in (master, *(f for f, _ in replicas))):
        # Valkey 9 can't write them for anybody else. And Redis 7.4 to 8.2: a lagging replica drops
        # a hash field whose first TTL has passed, even if it has none by then, with or without us.
        features -= {Feature.HASH_TTL}
    disk = rng.choices(tuple(Disk), (6, 2, 2 if _can_mount() else 0))[0]
    return Topology(
        master=master,
        features=frozenset(features),
        witness=rng.random() < 0.4,
        relays=relays,
        replicas=replicas,
        server_options={
            "repl_timeout": str(REPL_TIMEOUT_SECONDS),
            "repl_ping_replica_period": "1",
            "repl_diskless_sync": rng.choice(["yes", "yes", "no"]),
            "rdb_key_save_delay": rng.choice(["0", "0", "300"]),
            "rdbcompression": rng.choice(["yes", "no"]),
        },
        relay_options=_relay_options(rng, disk),
        disk=disk,
        jumpy_clock=rng.random() < 0.5,
    )


def _relay_options(rng: random.Random, disk: Disk) -> dict[str, str]:
    options = {
        "upstream_timeout_seconds": str(REPL_TIMEOUT_SECONDS),
        "listen_timeout_seconds": str(REPL_TIMEOUT_SECONDS),
        "store_fsync": rng.choice(["everysec", "everysec", "always", "no"]),
        "store_segment_bytes": rng.choice(["64kb", "1mb", "64mb"]),
    }
    if disk is Disk.QUOTA:
        options |= {"store_quota_bytes": _QUOTA, "store_segment_bytes": "1mb"}
    elif disk is Disk.TMPFS:
        options |= {"store_min_free_bytes": "8mb", "store_segment_bytes": "1mb"}
        options |= {"store_retain_bytes": "24mb", "store_pin_limit_bytes": "48mb"}
    return options


def _may_follow(follower: Flavour, master: Flavour) -> bool:
    """As tests/e2e/test_versions.py shows it, for a load of the features that both know."""
    return follower.can_follow(master)


def _can_mount() -> bool:
    return os.geteuid() == 0 and shutil.which("unshare") is not None
