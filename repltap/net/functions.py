"""The functions of the stored snapshot, read beside the event loop when somebody asks for them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from repltap.errors import ReplTapError
from repltap.rdb.functions import functions_only
from repltap.store.snapshot import Snapshot


class StoredFunctions:
    """Reads the functions of one snapshot at a time.

    Args:
        changed: Called when they are there, or can't be read.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._reading: Snapshot | None = None
        self._snapshot: Snapshot | None = None
        self._found: bytes | ReplTapError = b""

    def of(self, snapshot: Snapshot) -> bytes | None:
        """Give an RDB of the functions; None while they are read.

        Raises:
            ReplTapError: They can't be.
        """
        if snapshot == self._snapshot:
            found = self._found
            self._snapshot = None  # memory is for who asks just now
            if isinstance(found, ReplTapError):
                raise found
            return found
        if self._reading is None:
            self._reading = snapshot
            loop = asyncio.get_running_loop()
            reading = loop.run_in_executor(None, _read, snapshot)
            reading.add_done_callback(lambda done: self._read(snapshot, done))
        return None

    def _read(self, snapshot: Snapshot, done: asyncio.Future[bytes | ReplTapError]) -> None:
        self._reading = None
        if not done.cancelled():
            self._snapshot, self._found = snapshot, done.result()
            self._changed()


def _read(snapshot: Snapshot) -> bytes | ReplTapError:
    try:
        with os.fdopen(snapshot.open(), "rb") as file:
            return functions_only(file.read)
    except ReplTapError as failure:
        return failure
    except OSError as failure:
        return ReplTapError(f"{snapshot.path}: {failure.strerror}")
