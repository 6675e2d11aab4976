"""Reading slowly in a thread, until somebody waits for it."""

from __future__ import annotations

import threading

_SMALLEST_BYTES = 4096
"""What a step counts at least: comparing a few bytes with a record takes as long as reading so many
(a record with its checksum takes 2 µs of the interpreter, which the event loop wants too)."""

_PAUSE_SECONDS = 0.02
"""Pauses are at least this long: shorter ones cost more than they give."""


class PaceStoppedError(Exception):
    """Raised in the thread that reads, to end it. Not an error of the tree: nobody else sees it."""


class Pace:
    """How fast one file is read.

    Args:
        bytes_per_second: At most; more than 0.

    Attributes:
        done_bytes: How far it is.
        hurried: It is read as fast as it goes: somebody waits.
    """

    def __init__(self, bytes_per_second: int) -> None:
        self.done_bytes = 0
        self.hurried = False
        self._rate = bytes_per_second
        self._owed_seconds = 0.0
        self._stopped = False
        self._awake = threading.Event()

    def hurry(self) -> None:
        """Read the rest as fast as it goes."""
        self.hurried = True
        self._awake.set()

    def stop(self) -> None:
        """End the reading."""
        self._stopped = True
        self._awake.set()

    def read(self, size: int) -> None:
        """So many bytes have been read; called in the thread that reads, which waits here.

        Raises:
            PaceStoppedError: It is to end.
        """
        self.done_bytes += size
        self._owed_seconds += max(size, _SMALLEST_BYTES) / self._rate
        if not self.hurried and self._owed_seconds >= _PAUSE_SECONDS:
            self._awake.wait(self._owed_seconds)
            self._owed_seconds = 0.0
        if self._stopped:
            raise PaceStoppedError
