"""The checkpoints in the data directory: of sinks that are run by hand, or have not reported yet.

They are files that other processes replace at any time. They are read in a thread; what can't be
believed is said once, and nothing is kept for it, as nobody knows what.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from repltap.errors import ConfigError, StoreError
from repltap.position import Offset
from repltap.store.checkpoints import Checkpoints

log = logging.getLogger("repltap.journal")

_MAX_CHECKPOINTS = 256
"""Of more than that nobody keeps account; the first of them count, by name."""


@dataclass(frozen=True, slots=True)
class StoredPlace:
    """Where a checkpoint is.

    Attributes:
        sink: Its name.
        number: Of its history.
        offset: The first byte that it still needs of that.
        saved_at: When it was saved, Unix seconds.
    """

    sink: str
    number: int
    offset: Offset
    saved_at: float


class StoredPlaces:
    """Reads all checkpoints of a data directory.

    Args:
        path: The directory of the checkpoints.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._blamed: dict[str, str] = {}

    def read(self) -> dict[str, StoredPlace]:
        """Read them, by sink; blocking, for a thread. What can't be read is left out."""
        found: dict[str, StoredPlace] = {}
        blamed: dict[str, str] = {}
        try:
            checkpoints = Checkpoints(self._path)
            names = sorted(path.stem for path in self._path.glob("*.json"))
        except (StoreError, OSError) as failure:
            self._blame(blamed, "", str(failure))
            self._blamed = blamed
            return {}
        for name in names[:_MAX_CHECKPOINTS]:
            try:
                checkpoint = checkpoints.load(name)
            except ConfigError:
                continue  # it is no sink's
            except StoreError as failure:
                self._blame(blamed, name, str(failure))
                continue
            if checkpoint is not None and checkpoint.place is not None:
                found[name] = StoredPlace(
                    name, checkpoint.history_number, checkpoint.pin, checkpoint.saved_at
                )
        self._blamed = blamed
        return found

    def _blame(self, blamed: dict[str, str], name: str, reason: str) -> None:
        blamed[name] = reason
        if self._blamed.get(name) != reason:
            log.warning("%s; nothing is kept for the sink", reason)
