"""The attempts in a row to get a link up, and the waits between them.

A link that had worked is tried again at once, then with exponential backoff and jitter. Whoever
knows better ends the wait.
"""

from __future__ import annotations

import asyncio
import random
import time

from repltap.config import UpstreamConfig
from repltap.tasks import wait_at_most


class Attempts:
    """What has been tried since the link last worked.

    Attributes:
        count: How many attempts.
        next_try_at: When the next one begins, Unix seconds; None while none is waited for.
    """

    def __init__(self) -> None:
        self.count = 0
        self.next_try_at: float | None = None
        self._now = asyncio.Event()

    @property
    def wanted_now(self) -> bool:
        """The next attempt is not to be waited for."""
        return self._now.is_set()

    def begin(self) -> None:
        """One begins."""
        self._now.clear()
        self.next_try_at = None
        self.count += 1

    def forget(self) -> None:
        """The link has worked, or is another one."""
        self.count = 0

    def hurry(self) -> None:
        """Don't wait any longer with the next one."""
        self._now.set()

    async def called(self) -> None:
        """Wait for `hurry`."""
        self._now.clear()
        await self._now.wait()

    async def back_off(self, config: UpstreamConfig) -> None:
        """Wait before the next attempt, the longer the more there have been."""
        ceiling = config.backoff_min_seconds * 2 ** min(self.count, 30)
        await self.wait(random.uniform(0.5, 1.0) * min(ceiling, config.backoff_max_seconds))

    async def wait(self, seconds: float) -> None:
        """Wait this long; `hurry` ends the wait."""
        self.next_try_at = time.time() + seconds
        await wait_at_most(self._now, seconds)
        self.next_try_at = None
