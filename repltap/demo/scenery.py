"""What the demo prints before it plays: who is where, and what to try in another terminal."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from repltap.demo.servers import LOCALHOST, ServerBinary


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where everyone listens."""

    master: int
    relay: int
    replicas: tuple[int, ...]
    http: int


def introduction(ports: Ports, binary: ServerBinary, relay_pid: int, directory: Path) -> list[str]:
    """Write the introduction.

    Args:
        ports: Where everyone listens.
        binary: What master and replicas run.
        relay_pid: For the invitation to kill it.
        directory: Where logs and data are.

    Returns:
        Lines for a terminal of any width; commands can be pasted as they are.
    """
    first = f"  master :{ports.master}  ──▶  repltap :{ports.relay}  "
    branches = [f"──▶  replica {number} :{port}" for number, port in enumerate(ports.replicas, 1)]
    # The first branch goes on the line of the relay, the others hang below it.
    drawing = [first + "┬" + branches[0]]
    drawing += [" " * len(first) + "├" + branch for branch in branches[1:-1]]
    drawing += [" " * len(first) + "└" + branches[-1]]
    return [
        "",
        *drawing,
        "",
        f"  master and replicas: {binary.name}",
        f"  status API:          http://{LOCALHOST}:{ports.http}",
        f"  logs and data:       {directory}",
        "",
        "In another terminal:",
        "",
        *(f"  {command:<58} # {why}" for command, why in _commands(ports, relay_pid)),
        "",
        "ctrl-C stops everything and compares the datasets.",
        "",
    ]


def _commands(ports: Ports, relay_pid: int) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    client = next((name for name in ("redis-cli", "valkey-cli") if shutil.which(name)), None)
    if client is not None:
        rows += [
            (f"{client} -p {ports.relay} INFO replication", "a master to its replicas ..."),
            (f"{client} -p {ports.master} ROLE", "... and one replica to the master"),
            (f"{client} -p {ports.master} SET hello world", "write here ..."),
            (f"{client} -p {ports.replicas[0]} GET hello", "... read there"),
        ]
    rows.append((f"{_program()} status --http {LOCALHOST}:{ports.http}", "the relay as a table"))
    if shutil.which("curl"):
        rows.append((f"curl -s http://{LOCALHOST}:{ports.http}/api/status", "the same as JSON"))
    rows.append((f"kill -9 {relay_pid}", "the relay comes back: partial resyncs only"))
    return rows


def _program() -> str:
    """How this very repltap is called from the current directory."""
    beside = Path(sys.executable).parent / "repltap"
    on_path = shutil.which("repltap")
    if on_path is not None and Path(on_path).resolve() == beside.resolve():
        return "repltap"
    if not beside.exists():
        return f"{sys.executable} -m repltap"
    relative = os.path.relpath(beside)
    return relative if not relative.startswith("..") else str(beside)
