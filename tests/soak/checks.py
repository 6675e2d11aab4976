"""What must be true when a round is over and everything is quiet again."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.dataset import wait_same
from tests.servers.node import Node
from tests.servers.relay import REPOSITORY, Relay
from tests.servers.waiting import wait_for
from tests.soak.world import DAMAGED_EXIT, SoakRelay, World

MAX_GROWTH_BYTES = 64 << 20
"""Resident memory of a relay above what it had after the first quiet round of its life."""

_MONOTONE_ROUNDS = 10
_MONOTONE_BYTES = 16 << 20
"""A life whose memory rose in each of so many rounds, by so much in all, leaks."""

_QUIET_SECONDS = 60.0
_SPARE_FILES = 12
"""Open files of a relay that are no sockets and no segments: standard streams, epoll, the lock."""

_BAD_WORDS = re.compile(
    r"Traceback|internal error|never retrieved|never awaited|Task exception|asyncio\b.*\bERROR",
    re.IGNORECASE,
)


@dataclass(slots=True)
class _Life:
    """One process of a relay: what it took in memory after each round."""

    pid: int
    memory: list[int] = field(default_factory=list)
    sockets: dict[int, int] = field(default_factory=dict)  # by number of replicas


class Checks:
    """The checks of one episode.

    Attributes:
        max_rss_bytes: Of any relay so far.
        damaged: What the soak has done to stores, and what came of it.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._lives: dict[Relay, _Life] = {}
        self._log_bytes: dict[Node, int] = {}
        self.max_rss_bytes = 0
        self.damaged: Counter[str] = Counter()

    def wait_quiet(self) -> None:
        """Wait until everybody is there, linked, and equal in data, offset and replid.

        Raises:
            AssertionError: Somebody is not.
        """
        world = self._world
        for node in world.nodes:
            assert node.running, f"{node.name} ended by itself with code {node.wait()}"
        for follower in world.followers:
            follower.wait_link(_QUIET_SECONDS)
        wait_same(
            world.master,
            *(server for server in world.servers if server is not world.master),
            timeout_seconds=_QUIET_SECONDS,
        )
        for node in world.followers:
            wait_for(
                f"{node.name} has the replid and the offset of {world.master.name}",
                lambda node=node: (
                    (node.replid, node.offset)  # type: ignore[misc]
                    == (world.master.replid, world.master.offset)
                ),
            )

    def problems(self) -> list[str]:
        """Check what data don't show: logs, memory, open files, the stores."""
        found: list[str] = []
        for relay in self._world.relays:
            life = self._life(relay)
            found += self._check_memory(relay, life)
            found += self._check_files(relay, life)
            found += self._check_store(relay)
            found += self._check_log(relay)
        return found

    def _life(self, relay: SoakRelay) -> _Life:
        life = self._lives.get(relay)
        if life is None or life.pid != relay.pid:
            life = self._lives[relay] = _Life(relay.pid)
        return life

    def _check_log(self, relay: Relay) -> list[str]:
        seen = self._log_bytes.get(relay, 0)
        log = relay.log
        self._log_bytes[relay] = len(log)
        return [
            f"{relay.name} logged: {line:.300}"
            for line in log[seen:].splitlines()
            if _BAD_WORDS.search(line)
        ]

    def _check_memory(self, relay: Relay, life: _Life) -> list[str]:
        now = relay.memory_bytes()
        self.max_rss_bytes = max(self.max_rss_bytes, relay.memory_bytes("VmHWM"))
        life.memory.append(now)
        first, recent = life.memory[0], life.memory[-_MONOTONE_ROUNDS:]
        if now - first > MAX_GROWTH_BYTES:
            return [f"{relay.name} takes {now >> 20} MiB, {(now - first) >> 20} more than at first"]
        rises = all(before < after for before, after in itertools.pairwise(recent))
        if len(recent) == _MONOTONE_ROUNDS and rises and now - recent[0] > _MONOTONE_BYTES:
            return [f"{relay.name} grew in each of {_MONOTONE_ROUNDS} rounds: {recent}"]
        return []

    def _check_files(self, relay: Relay, life: _Life) -> list[str]:
        peers = len(relay.replicas())
        expected = life.sockets.setdefault(peers, _open_files(relay.pid)[0])
        segments = len(list(relay.data_dir.glob("histories/*/journal/*.seg")))
        allowed = _SPARE_FILES + 2 * segments + 2 * peers

        def settled() -> bool:
            sockets, files = _open_files(relay.pid)
            life.sockets[peers] = min(life.sockets[peers], sockets)
            return sockets <= expected and files <= allowed

        try:
            wait_for("the open files are what they were", settled)
        except AssertionError:
            sockets, files = _open_files(relay.pid)
            found = f"{sockets} sockets ({expected} before), {files} files ({allowed} allowed)"
            return [f"{relay.name} with {peers} replicas has {found}"]
        return []

    def _check_store(self, relay: Relay) -> list[str]:
        """Let `repltap journal verify` and `snapshot verify` read every stored byte.

        Damage that the soak itself has done, and that nobody has read yet, must be found.
        """
        found = verify_store(relay)
        done = self._world.damages.pop(relay, None)
        if done is None:
            return [f"{relay.name}: {line}" for line in found]
        what = "found by verify" if found else "mended, given up or without effect"
        for kind in done:
            self.damaged[f"{kind}: {what}"] += 1
        if found:
            self._replace_store(relay)
        return []

    def _replace_store(self, relay: Relay) -> None:
        relay.stop()
        self._world.wipe(relay)
        relay.restart()
        self.wait_quiet()


def verify_store(relay: Relay) -> list[str]:
    """Say what the commands find wrong with the store of a relay that may be running.

    Raises:
        AssertionError: A command ended in a way that it must not.
    """
    command = [sys.executable, "-m", "repltap"]
    children = [
        subprocess.Popen(
            [*command, what, "verify", "--data-dir", relay.data_dir],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=REPOSITORY,
        )
        for what in ("journal", "snapshot")
    ]
    found = []
    for child in children:
        said, _ = child.communicate(timeout=60)
        assert child.returncode in (0, DAMAGED_EXIT), (
            f"verify ended with {child.returncode}: {said}"
        )
        if child.returncode:
            found += said.splitlines()
    return found


def _open_files(pid: int) -> tuple[int, int]:
    """Count sockets and other descriptors."""
    sockets = files = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except OSError:
            continue
        if target.startswith("socket:"):
            sockets += 1
        else:
            files += 1
    return sockets, files
