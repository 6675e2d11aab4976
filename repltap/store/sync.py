"""Fsync in two phases, so that the event loop never waits for the disk.

The loop captures what is to become durable (descriptors of its own, so that rolls and trims go on
meanwhile), a thread runs the slow part, and the loop is told afterwards what has become durable.
"""

from __future__ import annotations

import os
from pathlib import Path

from repltap.position import Offset
from repltap.store.metadata import storage_error


class SyncJob:
    """Makes a journal durable up to `end`. Run it once; `Journal.synced` takes the result.

    Args:
        path: The journal directory, for error messages.
        end: What will be durable: everything below it.
        files: Descriptors to flush; owned by the job from now on.
        directory: The directory's descriptor when names in it have changed; owned too.
        generation: The journal's, to recognise a job that a truncation has overtaken.
        names: The journal's count of name changes that the job covers.
    """

    __slots__ = ("_directory", "_files", "_path", "end", "generation", "names")

    def __init__(
        self,
        path: Path,
        end: Offset,
        files: list[int],
        directory: int | None,
        *,
        generation: int,
        names: int,
    ) -> None:
        self._path = path
        self.end = end
        self._files = files
        self._directory = directory
        self.generation = generation
        self.names = names

    def run(self) -> None:
        """Flush to the disk; blocking, for a thread.

        Raises:
            DiskFullError: The file system found out only now that there is no room.
            DataDirError: The disk failed. What it lost can't be known: stop, do not retry.
        """
        try:
            for fd in self._files:
                os.fdatasync(fd)
            if self._directory is not None:
                os.fsync(self._directory)
        except OSError as exc:
            raise storage_error(exc, self._path) from exc
        finally:
            self.close()

    def close(self) -> None:
        """Give up the descriptors; `run` has done so already."""
        files, self._files = self._files, []
        directory, self._directory = self._directory, None
        for fd in files:
            os.close(fd)
        if directory is not None:
            os.close(directory)

    def __del__(self) -> None:
        self.close()
