"""How much is tried at random: a part of it each time, all of it when asked.

`REPLTAP_TESTS=full make test` takes minutes longer than what CI can spend on each change.

Each run tries the same, so that whether a change is good is no matter of luck.
`REPLTAP_SEED=random make test` tries something else and says what; a number, or what it said,
tries that again.
"""

import os
import random
from typing import TypeVar

FULL = os.environ.get("REPLTAP_TESTS") == "full"

SEED = os.environ.get("REPLTAP_SEED") or None
"""None for what each run tries."""
if SEED == "random":
    # The processes of a run side by side inherit what the first of them has drawn.
    SEED = os.environ["REPLTAP_SEED"] = str(random.SystemRandom().randrange(1 << 32))

_T = TypeVar("_T")


def times(full: int) -> int:
    """How often to do what a full run does `full` times."""
    return full if FULL else max(1, full * 2 // 5)


def generator(purpose: str) -> random.Random:
    """Give random numbers for a test: its own, whatever other tests draw."""
    return random.Random(f"{SEED or 0}:{purpose}")


def some(always: list[_T], full: list[_T]) -> list[_T]:
    """Parameters of each run, and those of a full one."""
    return always + full if FULL else always
