"""Blocking work that may hang for good: in a thread that nobody has to wait for.

The threads of `asyncio.to_thread` are few, sync the journal, and are waited for when the process
ends. What may wait for a name server or a network file system has none of that: its thread is its
own and a daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

_T = TypeVar("_T")


def in_thread(name: str, work: Callable[[], _T]) -> Future[_T]:
    """Begin work in a thread that the process does not wait for when it ends.

    How many there may be at once is for the caller to limit.

    Args:
        name: Of the thread, for debugging output.
        work: Called there.

    Returns:
        What comes of it. Its callbacks are called in that thread; it can't be cancelled.
    """
    done: Future[_T] = Future()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result = work()
        except Exception as failure:  # noqa: BLE001 - whatever it is, who waits gets it
            done.set_exception(failure)
        else:
            done.set_result(result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return done


async def outcome(done: Future[_T]) -> _T:
    """Wait for what comes of a thread; cancelling is safe, and the thread goes on.

    Args:
        done: From `in_thread`; any number may wait for it.

    Returns:
        What the work returned.

    Raises:
        Exception: What the work raised.
    """
    loop = asyncio.get_running_loop()
    told = asyncio.Event()

    def tell(_done: Future[_T]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(told.set)

    done.add_done_callback(tell)
    await told.wait()
    return done.result()
