"""How much of the processor a worker gets: what the relay, and everything else, leaves."""

from __future__ import annotations

import os

NICE = 10


def lower_priority(pid: int) -> None:
    """Let others go first; what can't be lowered stays as it is.

    Args:
        pid: The process; 0 for this one. A relay does it for its workers as soon as they are there:
            to start one is half a second's work, and a crash loop is many.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, pid, max(NICE, os.getpriority(os.PRIO_PROCESS, pid)))
        os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0))
    except OSError:
        pass  # a sandbox may forbid it, or it has ended already
