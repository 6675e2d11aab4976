"""What the file sink counts."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from repltap.sink import Sample


class Counts:
    """Counts since the worker has started.

    Attributes:
        finished: Files that have got their final names.
        deleted: Finished files that were deleted because there are newer ones.
        syncs, sync_seconds: How often, and how long, it has waited for the disk.
    """

    def __init__(self) -> None:
        self.finished = 0
        self.deleted = 0
        self.syncs = 0
        self.sync_seconds = 0.0

    def sync(self, fd: int) -> None:
        """Wait until a file, or the names of a directory, are on the disk.

        Raises:
            OSError: The disk has failed.
        """
        begin = time.monotonic()
        os.fsync(fd)
        self.sync_seconds += time.monotonic() - begin
        self.syncs += 1

    def sync_directory(self, path: Path) -> None:
        """Wait until the names of a directory are on the disk; raises as `sync`."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sync(fd)
        finally:
            os.close(fd)

    def samples(self, sink: str, length: int) -> Sequence[Sample]:
        """Give them as metrics.

        Args:
            sink: Its name.
            length: Of the file that is being written.
        """
        return [
            Sample(f"sink_file_{name}", text, {"sink": sink}, value)
            for name, text, value in (
                ("fsyncs_total", "Times that the disk was waited for.", self.syncs),
                ("fsync_seconds_total", "Time that the disk took.", self.sync_seconds),
                ("finished_total", "Files that were finished.", self.finished),
                ("deleted_total", "Finished files deleted for newer ones.", self.deleted),
                ("current_bytes", "Size of the file that is being written.", length),
            )
        ]
