"""Replicas that left the snapshot they were sent, and how long each waits for another.

One that can't load what it is sent asks for it again at once, and would for ever: Redis 7.0 below
Valkey 8.1 did so 180 times a second. It is held back longer each time.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from repltap.net.setbacks import Setbacks
from repltap.position import Position

_RESET_SECONDS = 5.0
"""The longest wait of a replica whose connection was reset before it acknowledged its snapshot.
One that can't load it does that where it has not read all that came behind. So does a network that
fails, and nobody is to wait long for one that works again."""


class Spurned:
    """Those who left without a word.

    Args:
        clock: Seconds; never goes back.
        circumstances: When this gives something else, nobody is held back any more.
    """

    def __init__(self, clock: Callable[[], float], circumstances: Callable[[], object]) -> None:
        self._setbacks = Setbacks(clock, circumstances)

    def left(self, name: str, asked: Position | None, *, reset: bool) -> float:
        """A replica has left without acknowledging its snapshot.

        Args:
            name: Its.
            asked: Where it had asked to go on, None where it had nothing.
            reset: Its connection was reset.

        Returns:
            For how many seconds it is held back.
        """
        return self._setbacks.add(name, _RESET_SECONDS if reset else math.inf, asked)

    def loaded(self, name: str) -> None:
        """It has loaded what it was sent."""
        self._setbacks.clear(name)

    def is_held(self, name: str, asks: Position | None) -> bool:
        """Tell whether a replica is to wait for another snapshot.

        Who asks to go on elsewhere than before has loaded what it was sent: it was promoted, say,
        before its first ACK, which Redis up to 7.0 sends up to a second after the load. Who could
        not has nothing to go on from, or is where it was (`repl-diskless-load swapdb`).
        """
        if asks is not None and self._setbacks.note(name, asks) != asks:
            self.loaded(name)
        return self._setbacks.running(name)
