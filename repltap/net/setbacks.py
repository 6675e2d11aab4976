"""Fetches that failed, and how long each is left alone.

A fetch may cost the master a fork, and its network the dataset: what failed is tried again less
and less often, unless the circumstances have changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass

RETRY_SECONDS = (1.0, 5.0, 30.0, 300.0)
"""Waits after failures in a row."""

_MAX = 64
"""What is wanted comes from replicas: there is an end to what is remembered of it."""


@dataclass(frozen=True, slots=True)
class _Setback:
    until: float
    failures: int
    circumstances: object
    note: object


class Setbacks:
    """What has failed lately.

    Args:
        clock: Seconds; never goes back.
        circumstances: When this gives something else, what failed before may well succeed.
    """

    def __init__(self, clock: Callable[[], float], circumstances: Callable[[], object]) -> None:
        self._clock = clock
        self._circumstances = circumstances
        self._setbacks: dict[Hashable, _Setback] = {}

    def add(self, what: Hashable, limit_seconds: float = math.inf, note: object = None) -> float:
        """Note a failure.

        Args:
            what: Which.
            limit_seconds: It is left alone no longer, and the next one no longer for it.
            note: What `note` gives until it succeeds, or fails again.

        Returns:
            For how many seconds it is left alone.
        """
        last = self._setbacks.pop(what, None)
        again = last is not None and last.circumstances == self._circumstances()
        failures = last.failures + 1 if last is not None and again else 0
        delay = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
        if delay > limit_seconds:
            delay, failures = limit_seconds, failures - 1
        if len(self._setbacks) >= _MAX:
            del self._setbacks[next(iter(self._setbacks))]
        until = self._clock() + delay
        self._setbacks[what] = _Setback(until, failures, self._circumstances(), note)
        return delay

    def clear(self, what: Hashable) -> None:
        """It has succeeded."""
        self._setbacks.pop(what, None)

    def note(self, what: Hashable, default: object) -> object:
        """Give what was noted of its last failure, the default if there was none."""
        setback = self._setbacks.get(what)
        return default if setback is None else setback.note

    def running(self, what: Hashable) -> bool:
        """Tell whether it is to be left alone now."""
        setback = self._setbacks.get(what)
        return (
            setback is not None
            and self._clock() < setback.until
            and setback.circumstances == self._circumstances()
        )
