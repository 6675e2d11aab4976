"""What the demo looks at: offsets for the live line, digests for the verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from repltap.client import Connection
from repltap.demo.servers import LOCALHOST
from repltap.errors import ReplTapError


class Observed:
    """One node of the demo, asked over a connection that is opened again when it was lost."""

    def __init__(self, name: str, port: int) -> None:
        """Name it and say where it answers RESP."""
        self.name = name
        self.port = port
        self._connection: Connection | None = None

    def info(self, section: str) -> dict[str, str]:
        """Read a section of INFO; empty when the node does not answer just now."""
        try:
            return self._connected().info(section)
        except (OSError, ReplTapError):
            self.close()
            return {}

    def offset(self) -> int | None:
        """Read how far it is in the stream, or None when it can't say."""
        info = self.info("replication")
        raw = info.get("slave_repl_offset") or info.get("master_repl_offset") or ""
        return int(raw) if raw.isascii() and raw.isdigit() else None

    def linked(self) -> bool:
        """Tell whether its link to its master is up."""
        return self.info("replication").get("master_link_status") == "up"

    def digest(self) -> str:
        """Read DEBUG DIGEST; OSError or ReplTapError when it can't be had."""
        return self._connected().call("DEBUG", "DIGEST").decode("ascii", "replace")

    def close(self) -> None:
        """Drop the connection; the next question opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = Connection(LOCALHOST, self.port)
        return self._connection


@dataclass(frozen=True, slots=True)
class Sample:
    """The offsets of all nodes at one moment, and the writes done until then."""

    at: float
    writes: int
    offsets: Mapping[str, int | None]


def progress_line(before: Sample, now: Sample) -> str:
    """Say in one line how it goes.

    Args:
        before: An earlier sample, for the rate.
        now: The latest; the master is the first of its offsets.

    Returns:
        Writes a second, each offset, and the most that anyone is behind the master.
    """
    span = max(now.at - before.at, 1e-9)
    rate = (now.writes - before.writes) / span
    master, *rest = now.offsets.values()
    shown = "  ".join(
        f"{name.replace('replica ', 'r')} {'-' if offset is None else offset}"
        for name, offset in now.offsets.items()
    )
    behind = [
        max(0, master - offset) for offset in rest if master is not None and offset is not None
    ]
    lag = f"{max(behind)} bytes" if behind and len(behind) == len(rest) else "not known"
    # In the order of what may be cut off: a line fits 80 columns up to a million bytes.
    return f"{rate:5.0f} writes/s  lag {lag}  {shown}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the demo ended: whether all datasets are equal, and why we say so."""

    equal: bool
    text: str


def compare(master: Observed, replicas: list[Observed], patient: Callable[[], bool]) -> Verdict:
    """Compare the datasets of master and replicas by DEBUG DIGEST.

    The master goes on by itself (expired keys, PING to replicas), so a comparison counts only
    when everyone is at the same offset before and after it.

    Args:
        master: Whose dataset is the true one.
        replicas: Those that must equal it.
        patient: Whether to look once more. A difference at the same offset is final only when
            it is still there when patience is over.

    Returns:
        The verdict.
    """
    nodes = [master, *replicas]
    while True:
        verdict = _compare_once(nodes)
        if verdict.equal or not patient():
            return verdict
        time.sleep(0.1)


def _compare_once(nodes: list[Observed]) -> Verdict:
    before = [node.offset() for node in nodes]
    if None in before or len(set(before)) > 1:
        listed = ", ".join(
            f"{node.name} {'not reachable' if offset is None else f'at {offset}'}"
            for node, offset in zip(nodes, before, strict=True)
        )
        return Verdict(equal=False, text=f"offsets differ: {listed}")
    try:
        digests = [node.digest() for node in nodes]
    except (OSError, ReplTapError) as exc:
        return Verdict(equal=False, text=f"datasets not compared: {exc}")
    if [node.offset() for node in nodes] != before:
        return Verdict(equal=False, text="datasets not compared: the stream went on meanwhile")
    names = ", ".join(node.name for node in nodes)
    if len(set(digests)) == 1:
        return Verdict(
            equal=True,
            text=f"datasets equal: DEBUG DIGEST {digests[0][:12]}... on {names}, "
            f"all at offset {before[0]}",
        )
    listed = ", ".join(
        f"{node.name} {digest[:12]}" for node, digest in zip(nodes, digests, strict=True)
    )
    return Verdict(equal=False, text=f"DATASETS DIFFER at offset {before[0]}: {listed}")
