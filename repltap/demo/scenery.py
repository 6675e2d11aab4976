"""What the demo prints before it plays: who is where, and what to try in another terminal."""

from __future__ import annotations

import os
import shlex
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


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is to tell.

    Attributes:
        ports: Where everyone listens.
        binary: What master and replicas run.
        relay_pid: For the invitation to kill it.
        directory: Where logs and data are.
        audit: The directory of the audit files.
    """

    ports: Ports
    binary: ServerBinary
    relay_pid: int
    directory: Path
    audit: Path


def introduction(scene: Scene) -> list[str]:
    """Write the introduction.

    Args:
        scene: What there is.

    Returns:
        Lines for a terminal of any width; commands can be pasted as they are.
    """
    ports = scene.ports
    page = f"http://{LOCALHOST}:{ports.http}/"
    return [
        "",
        *_drawing(ports),
        "",
        f"  open in a browser:   {page}",
        *_from_elsewhere(ports.http),
        f"  master and replicas: {scene.binary.name}",
        f"  logs and data:       {scene.directory}",
        "",
        "In another terminal, from this directory:",
        "",
        *(f"  {command:<58} # {why}" for command, why in _commands(scene)),
        "",
        "ctrl-C stops everything and compares the datasets.",
        "",
    ]


def _drawing(ports: Ports) -> list[str]:
    first = f"  master :{ports.master}  ──▶  repltap :{ports.relay}  "
    branches = [f"──▶  replica {number} :{port}" for number, port in enumerate(ports.replicas, 1)]
    branches.append("──▶  audit file (a sink)")
    # The first branch goes on the line of the relay, the others hang below it.
    drawing = [first + "┬" + branches[0]]
    drawing += [" " * len(first) + "├" + branch for branch in branches[1:-1]]
    return [*drawing, " " * len(first) + "└" + branches[-1]]


def _from_elsewhere(http: int) -> list[str]:
    """Say how a browser gets there from the machine that the person sits at."""
    if not os.environ.get("SSH_CONNECTION"):
        return []
    host = os.environ["SSH_CONNECTION"].split()[2:3] or ["THIS_HOST"]
    return [f"    from your own machine, first: ssh -L {http}:{LOCALHOST}:{http} {host[0]}"]


def _commands(scene: Scene) -> list[tuple[str, str]]:
    ports, program = scene.ports, _program()
    rows: list[tuple[str, str]] = []
    client = next((name for name in ("redis-cli", "valkey-cli") if shutil.which(name)), None)
    if client is not None:
        rows += [
            (f"{client} -p {ports.relay} INFO replication", "a master to its replicas ..."),
            (f"{client} -p {ports.master} ROLE", "... and one replica to the master"),
            (f"{client} -p {ports.master} SET hello world", "write here ..."),
            (f"{client} -p {ports.replicas[0]} GET hello", "... read there"),
        ]
    rows += [
        (f"{program} top --http {LOCALHOST}:{ports.http}", "the page in the terminal; q quits"),
        (f"{program} status --http {LOCALHOST}:{ports.http}", "the relay as a table"),
        (f"tail -f {shlex.quote(str(scene.audit))}/*", "who ordered what, as JSON lines"),
    ]
    if shutil.which("curl"):
        rows.append((f"curl -s http://{LOCALHOST}:{ports.http}/metrics", "for Prometheus"))
    rows.append((f"kill -9 {scene.relay_pid}", "the relay comes back: partial resyncs only"))
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
