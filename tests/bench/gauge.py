"""What the kernel counts of a process: CPU seconds and resident memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds, user and system, of all threads.

    Attributes:
        own: Of the process.
        children: Of its ended children: for a Redis server, the forks that write snapshots.
    """

    own: float
    children: float

    @property
    def total(self) -> float:
        """Return both."""
        return self.own + self.children

    def __sub__(self, before: Cpu) -> Cpu:
        return Cpu(self.own - before.own, self.children - before.children)


def cpu(pid: int) -> Cpu:
    """Return what a process has used so far; in steps of 10 ms."""
    # The name, in parentheses, may hold blanks: count from its end (proc(5), fields 14 to 17).
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system, child_user, child_system = (int(field) / _TICKS for field in fields[11:15])
    return Cpu(user + system, child_user + child_system)


def reset_peak(pid: int) -> None:
    """Let the peak of the resident memory (VmHWM) begin again at what it is now (proc(5))."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def percentile(values: list[float], share: float) -> float:
    """Return the value that this share of `values` does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
