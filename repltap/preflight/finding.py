"""What a check found: one finding a thing that was looked at, and how sizes are written in it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """What a finding means for who wants to start a relay."""

    OK = "ok"
    WARN = "warn"  # it works, and may not under load or in a fault
    FAIL = "fail"  # it does not work
    UNKNOWN = "unknown"  # it could not be looked at


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: What, a word or two that never change: programs look for it.
        level: What it means.
        found: What is so.
        advice: What to set or to do, "" for nothing.
    """

    check: str
    level: Level
    found: str
    advice: str = ""


_UNITS = (("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10))


def redis_size(count: float) -> str:
    """Write a size as Redis's configuration takes it, rounded up: `512`, `64kb`, `117mb`."""
    whole = int(-(-count // 1))
    for unit, size in _UNITS:
        # Up to ten of a unit the next one would round too much.
        if whole >= 10 * size or (whole >= size and whole % size == 0):
            return f"{-(-whole // size)}{unit}"
    return str(whole)
