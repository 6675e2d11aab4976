"""What was found damaged and is kept to look at: it counts against the quota, and goes first.

    histories/<n>-<replid8>/journal/<offset>.seg.broken     a tail that recovery cut off
    histories/<n>-<replid8>/snapshots/<name>.rdb.broken     a snapshot; `Snapshots` counts it
    histories/<n>-<replid8>.broken/                         a history that was not the newest

Nothing here is ever read by repltap. When the disk or the quota is short, the oldest is deleted
before reading from the master stops.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from repltap.store.metadata import storage_error

_PATTERNS = ("*.broken", "*/journal/*.broken", "*/snapshots/*.broken")
_COUNTED = _PATTERNS[:2]


class BrokenFiles:
    """The damaged files of a store; a spender of its quota.

    Args:
        histories: The directory of the histories.

    Attributes:
        disk_bytes: What those take that nobody else counts, as of the last `look`.
    """

    def __init__(self, histories: Path) -> None:
        self._histories = histories
        self.disk_bytes = 0

    @property
    def reserved_bytes(self) -> int:
        """Nothing: they don't grow."""
        return 0

    def look(self) -> None:
        """Count them again; blocking.

        Raises:
            DataDirError: The directory can't be read.
        """
        try:
            self.disk_bytes = sum(_size(path) for path in self._find(_COUNTED))
        except OSError as exc:
            raise storage_error(exc, self._histories) from exc

    def drop(self, enough: Callable[[], bool]) -> list[Path]:
        """Delete the oldest until there is enough room, or none is left; blocking.

        Args:
            enough: Asked before each.

        Returns:
            What has been deleted.

        Raises:
            DataDirError: One could not be deleted.
        """
        dropped: list[Path] = []
        try:
            for path in sorted(self._find(_PATTERNS), key=_changed_at):
                if enough():
                    break
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
                dropped.append(path)
                self.look()
        except OSError as exc:
            raise storage_error(exc, self._histories) from exc
        return dropped

    def _find(self, patterns: tuple[str, ...]) -> list[Path]:
        return [path for pattern in patterns for path in self._histories.glob(pattern)]


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0  # gone with its history


def _size(path: Path) -> int:
    """Add up a file or a whole directory."""
    parts = path.rglob("*") if path.is_dir() else (path,)
    total = 0
    for part in parts:
        try:
            total += part.stat().st_size if part.is_file() else 0
        except FileNotFoundError:
            continue  # gone with its history
    return total
