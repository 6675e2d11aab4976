"""Waiting for a condition, never for a while."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from http.client import HTTPException
from typing import TypeVar

_T = TypeVar("_T")

PATIENCE_SECONDS = 60.0
"""How long what should take a moment may take. Nobody waits so long but where it fails; a machine
with two cores and six tests side by side has stood still for 20 s."""


def readable(fd: int, timeout_seconds: float = PATIENCE_SECONDS) -> bool:
    """Tell whether something can be read, or the end, within a time.

    `select` can't be asked about descriptors above 1023, which a long run may come to.
    """
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(max(0.0, timeout_seconds) * 1000))


def wait_for(what: str, probe: Callable[[], _T], timeout_seconds: float = PATIENCE_SECONDS) -> _T:
    """Call `probe` until what it returns is true, and return that.

    A probe may raise OSError or HTTPException while a process is not up yet, or ends amid its
    answer: that counts as "not yet".

    Args:
        what: Said when the wait fails.
        probe: Cheap and free of side effects.
        timeout_seconds: How long to wait at most.

    Raises:
        AssertionError: It did not become true in time; says what it returned last.
    """
    deadline = time.monotonic() + timeout_seconds
    pause = 0.005
    while True:
        last: object
        try:
            value = probe()
            if value:
                return value
            last = value
        except (OSError, HTTPException) as exc:
            last = exc
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_seconds:g} s for: {what}; last: {last!r}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
