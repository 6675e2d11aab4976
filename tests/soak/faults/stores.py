"""Damage to what a relay has stored, between a kill and the next start.

Whatever it is, the relay may start or refuse to, and what it serves is right: replicas end with
equal data. A refusal names the file and has exit code 5; the soak then does what the operator does
and takes the data directory away. Damage that nobody has read by the end of the round must be found
by `repltap journal verify` or `repltap snapshot verify`, and the directory is taken away then.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

from tests.soak.faults.fault import Fault
from tests.soak.faults.links import describe, draw_transfer_places
from tests.soak.world import World, linger


class Damage(Fault):
    """Flip, cut or delete in the files of a relay that has just been killed."""

    name = "damage a store"
    weight = 9
    legitimate = "the relay and everybody below it"

    def strike(self, world: World) -> str:
        relay = self.rng.choice(world.relays)
        leaves = [node for node in world.below(relay) if node in world.replicas]
        # Whoever comes back empty reads all that is stored.
        empty = [self.rng.choice(leaves)] if leaves and self.rng.random() < 0.7 else []
        with world.held(relay, *empty):
            for node in empty:
                node.kill()
            relay.kill()
            world.ledger.killed(relay)
            files = sorted(f for f in relay.data_dir.glob("histories/**/*") if f.is_file())
            done = [_damage(self.rng, files) for _ in range(self.rng.choice([1, 1, 2]))]
            world.ledger.ruined(relay, "a store was damaged")
            for node in (relay, *world.below(relay)):
                world.ledger.excuse(node, "a store was damaged")
                world.ledger.owe_refresh(node, "a store was damaged")
            for kind in done:
                world.damaged(relay, kind.partition(":")[0])
            linger(self.rng, 0, 0.3)
            try:
                world.revive(relay)
            finally:
                for node in empty:
                    node.start()
        read = "".join(f"; {node.name} reads all of it" for node in empty)
        return f"{relay.name}: {'; '.join(done)}{read}"


class Wipe(Fault):
    """The data directory is lost; the new snapshot may break off on its way, once or twice."""

    name = "wipe a store"
    weight = 4
    legitimate = "the relay and everybody below it"

    def strike(self, world: World) -> str:
        relay = self.rng.choice(world.relays)
        with world.held(relay):
            relay.kill()
            world.ledger.ruined(relay, "a store was wiped")
            for node in (relay, *world.below(relay)):
                world.ledger.excuse(node, "a store was wiped")
            world.wipe(relay)
            places = draw_transfer_places(self.rng) if self.rng.random() < 0.7 else []
            world.wire_above(relay).faults.extend(places)
            world.revive(relay)
            linger(self.rng, 0, 1.5)
        return f"{relay.name}: {describe(places)}"


def _damage(rng: random.Random, files: list[Path]) -> str:
    """Damage one file of a kind that is there.

    Returns:
        What was done; the kind before a colon.
    """
    by_kind: dict[str, list[Path]] = {}
    for file in files:
        by_kind.setdefault(_kind(file), []).append(file)
    if not by_kind:
        return "nothing"
    # Most of what is stored is stream: most of what a disk damages.
    kind = rng.choice([*sorted(by_kind), *["segment"] * (4 if "segment" in by_kind else 0)])
    found = by_kind[kind]
    how = rng.choice(["flip", "flip", "cut", "delete"])
    # A crash tears the end of what was written last; other damage is anywhere.
    file = max(found) if how == "cut" and kind in ("segment", "index") else rng.choice(found)
    if not file.exists():
        return "nothing"
    size = file.stat().st_size
    if how == "delete" or not size:
        file.unlink()
        return f"delete {kind}: {file.name} of {size} bytes"
    if how == "cut":
        keep = rng.randrange(size)
        if rng.random() < 0.5:
            keep = max(0, size - rng.randint(1, 100))
        os.truncate(file, keep)
        return f"cut {kind}: {file.name} to {keep} of {size} bytes"
    at = rng.randrange(size)
    with file.open("r+b") as opened:
        opened.seek(at)
        old = opened.read(1)[0]
        opened.seek(at)
        opened.write(bytes([old ^ (1 << rng.randrange(8))]))
    return f"flip {kind}: {file.name} at {at} of {size} bytes"


def _kind(file: Path) -> str:
    kinds = {".seg": "segment", ".idx": "index", ".rdb": "snapshot", ".part": "part"}
    if file.suffix == ".json":
        return "history.json" if file.name == "history.json" else "snapshot.json"
    return kinds.get(file.suffix, file.name if file.name == "durable.mark" else "other")
