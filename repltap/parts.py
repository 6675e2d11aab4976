"""The tasks that a process is made of, by name, and what makes it end.

One that dies of an error ends all: a relay that has lost a part would look healthy. A first signal
asks for an ordered end, a second one for a hurried one.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger("repltap.app")


class Parts:
    """The parts of a process.

    Attributes:
        stop: The process is to end.
        hurry: It is not to wait for anybody any more.
        failure: What the first part that failed has died of.
    """

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        self.failure: BaseException | None = None

    def catch_signals(self, on_hung_up: Callable[[], None]) -> None:
        """Take SIGTERM and SIGINT from now on, and give SIGHUP to the caller."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        # As redis-server it goes on when the terminal that started it is closed.
        loop.add_signal_handler(signal.SIGHUP, on_hung_up)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # `repltap run` blocks it

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a part; the process ends when it fails."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._ended)
        return task

    async def end(self, task: asyncio.Task[None]) -> None:
        """Cancel a part and wait for it; what it died of has been noted already."""
        task.cancel()
        await asyncio.wait([task])

    async def unless_hurried(self, work: Coroutine[Any, Any, object]) -> None:
        """Wait for some work, until there is no time for it any more."""
        if self.hurry.is_set():
            work.close()
            return
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work), group.create_task(self.hurry.wait())]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()

    # -- inside ----------------------------------------------------------------------------------

    def _signalled(self, number: signal.Signals) -> None:
        if self.stop.is_set():
            self.hurry.set()
            return
        log.info("%s received: shutting down", signal.Signals(number).name)
        self.stop.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (failure := task.exception()) is not None:
            if self.failure is None:
                self.failure = failure
            self.stop.set()
