"""Which faults a round has and when: all of it follows from (seed, round)."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.soak.faults.catalogue import CATALOGUE
from tests.soak.faults.fault import Fault
from tests.soak.topology import Topology

ROUNDS_PER_EPISODE = 20
_MOST_FAULTS = 4
_SPREAD_SECONDS = 1.2


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault and when it begins, counted from the round's beginning."""

    at_seconds: float
    fault: Fault


def generator(seed: int, *purpose: object) -> random.Random:
    """Return the generator for one purpose: the same whatever else was drawn before."""
    return random.Random(":".join(map(str, (seed, *purpose))))


def draw_round(
    seed: int, number: int, topology: Topology, only: frozenset[str] = frozenset()
) -> list[Strike]:
    """Draw a round's faults, in the order of their beginnings.

    Args:
        seed: Of the soak.
        number: Of the round.
        topology: Of its episode.
        only: Names of the faults to draw from; empty for all.
    """
    rng = generator(seed, "round", number)
    kinds = [kind for kind in CATALOGUE if kind.possible(topology)]
    kinds = [kind for kind in kinds if not only or kind.name in only]
    if not kinds:
        return []
    count = rng.randint(1, _MOST_FAULTS)
    drawn = rng.choices(kinds, [kind.weight for kind in kinds], k=count)
    strikes = [
        Strike(rng.uniform(0, _SPREAD_SECONDS), kind(generator(seed, "fault", number, i)))
        for i, kind in enumerate(drawn)
    ]
    return sorted(strikes, key=lambda strike: strike.at_seconds)
