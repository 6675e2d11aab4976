"""Background tasks with an owner: each is named, awaited at the end, and none fails unseen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class OwnedTasks:
    """The tasks of one component.

    Args:
        on_failure: Called with what a task died of, unless it was cancelled. The component's
            owner decides whether the process goes on; usually it doesn't.
    """

    def __init__(self, on_failure: Callable[[BaseException], None]) -> None:
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task under this owner.

        Args:
            name: For debugging output.
            work: What to run.

        Returns:
            The task; the owner keeps it alive.
        """
        loop = asyncio.get_running_loop()
        task = loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def join(self) -> None:
        """Wait until every task has ended, those too that they start meanwhile."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def cancel(self) -> None:
        """Cancel every task and wait until they have ended."""
        for task in self._tasks:
            task.cancel()
        await self.join()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._on_failure(failure)


async def wait_at_most(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, no longer than this; cancelling is safe.

    Args:
        event: Left as it is.
        seconds: More than 0.

    Returns:
        Whether it is set.
    """
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
    return event.is_set()
