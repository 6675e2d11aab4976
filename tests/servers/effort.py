"""How much is tried at random: a part of it each time, all of it when asked.

`REPLTAP_TESTS=full make test` takes minutes longer than what CI can spend on each change.
"""

import os
from typing import TypeVar

FULL = os.environ.get("REPLTAP_TESTS") == "full"

_T = TypeVar("_T")


def times(full: int) -> int:
    """How often to do what a full run does `full` times."""
    return full if FULL else max(1, full * 2 // 5)


def some(always: list[_T], full: list[_T]) -> list[_T]:
    """Parameters of each run, and those of a full one."""
    return always + full if FULL else always
