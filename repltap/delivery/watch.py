"""The bell of a worker that was started by hand: it looks at the files, nobody rings it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from repltap.delivery.report import WorkerReport
from repltap.store.history import JOURNAL_NAME
from repltap.store.store import HISTORIES_NAME, history_number

_LOOK_SECONDS = 0.05
"""How often the index of a busy journal grows."""


class FileBell:
    """Looks at the newest journal of a data directory.

    Args:
        data_dir: The directory.
        told: Given each report.
    """

    def __init__(self, data_dir: Path, told: Callable[[WorkerReport], None]) -> None:
        self.wishes = 0
        self._histories = data_dir / HISTORIES_NAME
        self._told = told
        self._stop = threading.Event()
        self._seen: object = None

    @property
    def stopping(self) -> bool:
        """Tell whether the worker is to commit and end."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Say that it is to; may be called by a signal handler."""
        self._stop.set()

    def wait(self, seconds: float) -> None:
        """Wait until the journal may have grown, or the worker is to stop; no longer than so."""
        left = seconds
        while left > 0:
            if self._stop.wait(min(left, _LOOK_SECONDS)):
                return
            left -= _LOOK_SECONDS
            seen = self._look()
            if seen != self._seen:
                self._seen = seen
                return

    def report(self, report: WorkerReport) -> None:
        """Take note of how it is doing."""
        self._told(report)

    def want_snapshot(self) -> None:
        """Nobody is there who could fetch one; a relay beside this process may, for its own."""
        self.wishes += 1

    def _look(self) -> object:
        """Give what differs when something has come in: the newest index, and its size."""
        try:
            numbered = ((history_number(name), name) for name in os.listdir(self._histories))  # noqa: PTH208
            newest = max((found, name) for found, name in numbered if found is not None)[1]
            journal = self._histories / newest / JOURNAL_NAME
            index = max(name for name in os.listdir(journal) if name.endswith(".idx"))  # noqa: PTH208
            return newest, index, (journal / index).stat().st_size
        except (OSError, ValueError):
            return None
