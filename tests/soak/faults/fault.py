"""What all faults have in common."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from typing import ClassVar

from tests.soak.topology import Topology
from tests.soak.world import World


class MissedError(Exception):
    """The moment was not right: nothing was done."""


class Fault(ABC):
    """One thing that goes wrong while the load runs.

    Args:
        rng: The fault's own: what it draws follows from the seed, the round and its number.

    Attributes:
        name: As the tables show it.
        weight: How often it is drawn, relative to the others.
        legitimate: Which full syncs it excuses, in words; `strike` tells the ledger.
    """

    name: ClassVar[str]
    weight: ClassVar[int]
    legitimate: ClassVar[str]

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    @classmethod
    def possible(cls, topology: Topology) -> bool:
        """Tell whether an episode has what the fault needs."""
        return True

    @abstractmethod
    def strike(self, world: World) -> str:
        """Do it, and undo what would keep the world from becoming quiet again.

        Returns:
            What was done, to whom, for a failure's report.

        Raises:
            MissedError, BusyError: It could not be done now.
            OSError, hiredis.ReplyError: Somebody is not there just now; another fault's doing.
            AssertionError: The relay did what it must not.
        """
