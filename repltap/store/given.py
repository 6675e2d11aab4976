"""Up to where a sink has been given records, noted before it is: what a killed worker leaves.

    checkpoints/<sink>.given    the place as text, and spaces up to 512 bytes

A checkpoint says what is durable in the target. Where a target delivers some records twice it may
also hold what was written and never committed; a failover can take back just that, and the next
start must be able to say so. The note is written over in place and never forced to the disk: it
outlives its process, not the machine. Without it, or with one that makes no sense, nothing is
known to have been given, which is what a worker without it would assume.
"""

from __future__ import annotations

import os
from pathlib import Path

from repltap.store.metadata import storage_error

_SIZE_BYTES = 512
"""Twice what a place takes, and within one page: a reader never finds half a note."""


class GivenNote:
    """The note of one sink, which one process writes.

    Args:
        path: Of the file, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, text: str) -> None:
        """Replace the note; quick, and not durable.

        Args:
            text: ASCII without spaces at its end, at most 512 bytes.

        Raises:
            ValueError: It is longer.
            DiskFullError: No room for the file, which does not grow any more once it is there.
            DataDirError: It could not be written.
        """
        data = text.encode("ascii").ljust(_SIZE_BYTES)
        if len(data) > _SIZE_BYTES:
            raise ValueError(f"a note of {len(data)} bytes")
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.pwrite(fd, data, 0)
            finally:
                os.close(fd)
        except OSError as exc:
            raise storage_error(exc, self._path) from exc

    def read(self) -> str:
        """Give the note, "" for none.

        Raises:
            DataDirError: It could not be read.
        """
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return ""
        except OSError as exc:
            raise storage_error(exc, self._path) from exc
        return data[:_SIZE_BYTES].decode("ascii", "replace").strip()

    def forget(self) -> None:
        """Remove the note, if there is one.

        Raises:
            DataDirError: It could not be removed.
        """
        try:
            self._path.unlink(missing_ok=True)
        except OSError as exc:
            raise storage_error(exc, self._path) from exc
