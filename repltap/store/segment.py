"""One segment of a journal as its readers see it: offsets, a file, and who holds it open.

A segment that is acquired stays readable when retention removes its file: the descriptor keeps the
bytes alive until the last reader lets go. The journal alone writes, through descriptors of its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from repltap.errors import CorruptStoreError, NotRetainedError
from repltap.position import Offset
from repltap.store.format import RECORD_BYTES, index_path
from repltap.store.index import check_records
from repltap.store.metadata import storage_error


class Segment:
    """A run of stream bytes in one file.

    Args:
        path: The data file.
        start: Offset of its first byte.
        end: Offset after its last byte.

    Attributes:
        end: Grows while the segment is the journal's last one; `Journal.truncate` lowers it.
        fd: For reading, valid while acquired, else -1. Byte `o` is at position `o - start`; use
            calls that take a position (pread, sendfile), the descriptor is shared.
        index_bytes: Size of the index beside it; the journal keeps it current.
        verified: Its bytes were written by this process, or matched their checksums since it began.
    """

    __slots__ = (
        "_cuts", "_holders", "_lock", "end", "fd", "index_bytes", "path", "start", "verified",
    )  # fmt: skip

    def __init__(
        self,
        path: Path,
        start: Offset,
        end: Offset,
        index_bytes: int = 0,
        *,
        verified: bool = False,
    ) -> None:
        self.path = path
        self.start = start
        self.end = end
        self.fd = -1
        self.index_bytes = index_bytes
        self.verified = verified
        self._cuts = 0
        self._holders = 0
        # Readers are on the event loop and, for long reads, in threads.
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Segment({self.path.name}, {self.start}..{self.end}, {self._holders} holders)"

    @property
    def disk_bytes(self) -> int:
        """What it takes on the disk, index included."""
        return self.end - self.start + self.index_bytes

    def acquire(self) -> None:
        """Keep the bytes readable, even if the file is removed; pair it with `release`.

        Raises:
            NotRetainedError: The file has been removed already.
            DataDirError: It can't be opened.
        """
        with self._lock:
            if self._holders == 0:
                try:
                    self.fd = os.open(self.path, os.O_RDONLY)
                except FileNotFoundError as exc:
                    raise self._gone() from exc
                except OSError as exc:
                    raise storage_error(exc, self.path) from exc
            self._holders += 1

    def release(self) -> None:
        """Give back one `acquire`; the last one closes the file."""
        with self._lock:
            if self._holders <= 0:
                raise ValueError(f"{self!r} is released more often than acquired")
            self._holders -= 1
            if self._holders == 0:
                os.close(self.fd)
                self.fd = -1

    def cut(self, at: Offset, index_bytes: int) -> None:
        """End at `at` from now on; `Journal.truncate` sees to the files afterwards."""
        self._cuts += 1
        self.end = at
        self.index_bytes = index_bytes

    def verify(self, checked: Callable[[int], None] | None = None) -> None:
        """Read all bytes that the index covers and check them; blocking, for a thread.

        Sets `verified`, unless the segment is cut meanwhile: then nothing is said about it.

        Args:
            checked: Told of each number of bytes that is right; may raise to end it.

        Raises:
            CorruptStoreError: They do not match; says from which offset on.
            NotRetainedError: The segment has been removed, or is just then.
            OpenFilesError: No more files can be opened just now.
            DataDirError: It can't be read.
        """
        cuts, end, count = self._cuts, self.end, self.index_bytes // RECORD_BYTES
        self.acquire()
        try:
            index_fd = os.open(index_path(self.path.parent, self.start), os.O_RDONLY)
            try:
                offset, damage = check_records(self.fd, index_fd, self.start, count, checked)
            finally:
                os.close(index_fd)
        except FileNotFoundError as exc:
            raise self._gone() from exc
        except OSError as exc:
            raise storage_error(exc, self.path) from exc
        finally:
            self.release()
        if self._cuts != cuts:
            return
        # What was cut grows again, perhaps just then; its index was made to fit when it was.
        if not damage and not cuts and offset != end:
            damage = "its index does not end where its data does"
        if damage:
            raise CorruptStoreError(
                f"damaged at offset {offset}: {damage}",
                path=self.path,
                hint="check the disk; moving its history directory away begins again with a full "
                "sync",
            )
        self.verified = True

    def read(self, offset: Offset, size: int) -> bytes:
        """Read up to `size` bytes from `offset`, fewer at the segment's end; acquired or not.

        Raises:
            NotRetainedError: The file has been removed and nobody holds it.
            DataDirError: It can't be read.
        """
        self.acquire()
        try:
            # `Journal.truncate` may have set the end below the offset.
            size = max(0, min(size, self.end - offset))
            return os.pread(self.fd, size, offset - self.start)
        except OSError as exc:
            raise storage_error(exc, self.path) from exc
        finally:
            self.release()

    def _gone(self) -> NotRetainedError:
        return NotRetainedError(
            f"offsets {self.start} to {self.end} are no longer held", path=self.path
        )
