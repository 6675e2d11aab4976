"""The hard quota over everything that grows: journals and snapshots of all histories.

Writers ask before they grow. A journal asks rarely: it reserves room ahead, so that its hot path
compares two numbers. Reserved room counts as used, so the sum never passes the quota.
"""

from __future__ import annotations

import threading
from typing import Protocol

NO_LIMIT = 1 << 62
"""More than any disk holds, and still a small integer for Python's arithmetic."""


class Spender(Protocol):
    """Something on the disk that counts against the quota."""

    @property
    def disk_bytes(self) -> int:
        """What it takes now."""

    @property
    def reserved_bytes(self) -> int:
        """What it may take on top without asking again."""


class Budget:
    """Adds up what all spenders take and says what is left.

    Args:
        limit: The quota in bytes, None for no limit.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        # Histories come and go in threads (publish, discard) while the loop asks what is left.
        self._lock = threading.Lock()
        self._spenders: tuple[Spender, ...] = ()

    def join(self, spender: Spender) -> None:
        """Count this spender from now on."""
        with self._lock:
            self._spenders = (*self._spenders, spender)

    def leave(self, spender: Spender) -> None:
        """Count it no longer: its files are gone."""
        with self._lock:
            self._spenders = tuple(s for s in self._spenders if s is not spender)

    @property
    def disk_bytes(self) -> int:
        """What all spenders take now."""
        return sum(spender.disk_bytes for spender in self._spenders)

    @property
    def left(self) -> int:
        """How much may still be taken; never negative."""
        if self.limit is None:
            return NO_LIMIT
        taken = sum(s.disk_bytes + s.reserved_bytes for s in self._spenders)
        return max(0, self.limit - taken)
