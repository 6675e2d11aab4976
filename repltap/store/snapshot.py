"""One stored snapshot, and its metadata file. See `snapshots` for the names and their order."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import anycrc

from repltap.errors import CorruptStoreError, NotRetainedError
from repltap.position import Offset
from repltap.store.metadata import corrupt_metadata, load_json, publish_json, storage_error

_crc64 = anycrc.Model("CRC64-REDIS").calc
_READ_BYTES = 1 << 20
_CHECKSUM_BYTES = 8


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A stored RDB file.

    Attributes:
        offset: The stream offset it describes: it contains everything below.
        path: The file.
        size_bytes: Its size.
        format: The RDB magic and version, such as REDIS0011 or VALKEY080.
        crc64: Of all but the last eight bytes, as the transfer computed it.
        aux: The AUX fields at its beginning.
        created_at: When it was complete, Unix seconds.
        duration_seconds: How long it took to arrive.
    """

    offset: Offset
    path: Path
    size_bytes: int
    format: str
    crc64: int
    aux: Mapping[str, str] = field(compare=False)
    created_at: float
    duration_seconds: float

    def open(self) -> int:
        """Open it for reading.

        Returns:
            A descriptor that the caller closes; it stays readable when the snapshot is removed.

        Raises:
            NotRetainedError: It has been removed.
            DataDirError: It can't be opened.
        """
        try:
            return os.open(self.path, os.O_RDONLY)
        except FileNotFoundError as exc:
            raise NotRetainedError("the snapshot has been removed", path=self.path) from exc
        except OSError as exc:
            raise storage_error(exc, self.path) from exc

    def verify(self, each: Callable[[bytes], object] | None = None) -> None:
        """Read it all and check its beginning, size and checksum; blocking, for a thread.

        Takes a few MiB of memory, whatever its size.

        Args:
            each: Given all bytes in order, a chunk at a time, before it is known whether they are
                right; may raise to end it.

        Raises:
            CorruptStoreError: They are wrong: it must not be served.
            NotRetainedError: It has been removed.
            OpenFilesError: No more files can be opened just now.
            DataDirError: It can't be read.
        """
        fd = self.open()
        body = size = 0
        trailer = b""
        try:
            # Zeros have the checksum zero: what a hole in a file reads as would pass without this.
            if os.pread(fd, len(self.format), 0) != self.format.encode():
                raise self._damaged(f"does not begin with {self.format}")
            while chunk := os.pread(fd, _READ_BYTES, size):
                size += len(chunk)
                if each is not None:
                    each(chunk)
                chunk = trailer + chunk
                body = _crc64(chunk[:-_CHECKSUM_BYTES], body)
                trailer = chunk[-_CHECKSUM_BYTES:]
        except OSError as exc:
            raise storage_error(exc, self.path) from exc
        finally:
            os.close(fd)
        if size != self.size_bytes:
            raise self._damaged(f"is {size} bytes long instead of {self.size_bytes}")
        # Zeros mean "none" (rdbchecksum no, or Valkey's skip-rdb-checksum; Redis `rdbLoadRio`):
        # what the transfer computed is all there is to compare with then.
        stored = int.from_bytes(trailer, "little") or self.crc64
        if body != stored:
            raise self._damaged("does not match its checksum")

    def _damaged(self, reason: str) -> CorruptStoreError:
        return CorruptStoreError(reason, path=self.path, hint="check the disk")

    def publish_metadata(self) -> None:
        """Write the metadata file, which publishes the snapshot; blocking.

        Raises:
            DiskFullError: No room.
            DataDirError: The disk failed.
        """
        fields = {
            "offset": self.offset,
            "size_bytes": self.size_bytes,
            "format": self.format,
            "crc64": f"{self.crc64:016x}",
            "aux": dict(self.aux),
            "created_at": self.created_at,
            "duration_seconds": self.duration_seconds,
        }
        publish_json(self.path.with_suffix(".json"), fields)


def load_snapshot(path: Path) -> Snapshot:
    """Read the metadata of the snapshot at `path`, and check the size of its file.

    Raises:
        FileNotFoundError: One of the two files does not exist.
        CorruptStoreError: They can't be believed.
        DataDirError: They can't be read.
    """
    metadata = path.with_suffix(".json")
    fields = load_json(metadata)
    size = path.stat().st_size
    try:
        snapshot = Snapshot(
            Offset(int(cast("int", fields["offset"]))),
            path,
            int(cast("int", fields["size_bytes"])),
            str(fields["format"]),
            int(str(fields["crc64"]), 16),
            {str(k): str(v) for k, v in cast("dict[str, str]", fields["aux"]).items()},
            float(cast("float", fields["created_at"])),
            float(cast("float", fields["duration_seconds"])),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise corrupt_metadata(metadata, f"lacks a field or has a wrong one: {exc}") from exc
    if size != snapshot.size_bytes:
        raise CorruptStoreError(f"is {size} bytes long instead of {snapshot.size_bytes}", path=path)
    return snapshot
