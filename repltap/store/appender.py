"""Appending to a journal: the last segment, its index, the roll to the next one.

The hot path of the whole relay: every read from the master's socket becomes one `append`, which is
one `pwrite` to the page cache and one CRC. Everything else (a full segment, the quota, a short
write) is behind one comparison. Data and index are written at tracked positions, so a write that
failed or came out short is written over by the next one.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from repltap.errors import DataDirError, DiskFullError
from repltap.position import Offset
from repltap.store import format as layout
from repltap.store.budget import Budget
from repltap.store.metadata import storage_error
from repltap.store.options import StoreOptions
from repltap.store.segment import Segment

_RESERVE_BYTES = 1 << 20
"""Room reserved from the quota at a time: a few reads from the master's socket, and small enough
not to keep a snapshot from using the rest."""

MAX_INDEX_BYTES = 32_768 * layout.RECORD_BYTES
"""A segment is full with this much index too. A quiet stream has a record for every few bytes, and
a start checks those of the last segment one by one: 64 MiB of 100-byte records took it 4 s, this
many take it 0.1 s. At twenty writes a second it is a segment in 27 minutes."""

CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL

_pwrite = os.pwrite
_crc32c = layout.crc32c


class Appender:
    """The writing half of a `Journal`.

    Attributes:
        path: The journal directory.
        start: The first offset that is held.
        end: The offset after the last byte held.
    """

    def __init__(
        self,
        path: Path,
        segments: list[Segment],
        time_ns: int,
        options: StoreOptions,
        budget: Budget,
    ) -> None:
        self.path = path
        self.start = segments[0].start
        self.end = segments[-1].end
        self._budget = budget
        self._segment_bytes = options.segment_bytes
        self._interval_bytes = options.index_interval_bytes
        self._interval_ns = int(options.index_interval_seconds * 1e9)
        # Replaced, never changed: readers in threads look segments up without a lock.
        self._segments = tuple(segments)
        self._closed_bytes = sum(segment.disk_bytes for segment in segments[:-1])
        self._lock = threading.RLock()
        self._closed = False
        self._unsynced: list[Segment] = []  # rolled since the last sync
        self._names_changed = 0  # counts creations and removals in the directory
        self._appended_ns = time_ns  # of the last byte
        self._record_ns = time_ns  # of the last record
        self._clock_ns = time_ns  # when the last record was written, by the caller's clock
        self._pending = 0  # bytes that no record covers yet ...
        self._crc = 0  # ... and their CRC-32C
        # Up to where `append` needs to ask nobody: the segment's end, or that of the reserved room.
        self._fast_end: int = self.end
        self._open_last()

    @property
    def disk_bytes(self) -> int:
        """What it takes on the disk, indexes included."""
        last = self._segments[-1]
        return self._closed_bytes + self.end - last.start + last.index_bytes

    @property
    def reserved_bytes(self) -> int:
        """What it may take on top without asking the budget again."""
        if self._budget.limit is None or self._closed:
            return 0
        return max(0, self._fast_end - self.end)

    # -- writing ---------------------------------------------------------------------------------

    def append(self, data: bytes | bytearray | memoryview, now_ns: int) -> None:
        """Store the next bytes of the stream.

        Args:
            data: Any number of bytes; not kept.
            now_ns: Unix time in nanoseconds, for the map from times to offsets.

        Raises:
            DiskFullError: No room. `end` tells how much was stored; the rest was not, and may be
                appended when there is room.
            DataDirError: The disk failed; `end` is right all the same.
        """
        # The hot path: one pwrite and one CRC for each read from the master's socket.
        size = len(data)
        end = self.end
        if end + size > self._fast_end:
            self._append_slowly(memoryview(data), now_ns)
            return
        try:
            written = _pwrite(self._data_fd, data, end - self._base)
        except OSError as exc:
            raise storage_error(exc, self._last.path) from exc
        if written != size:
            rest = memoryview(data)
            self._count(rest[:written], now_ns)
            self._append_slowly(rest[written:], now_ns)
            return
        self._crc = _crc32c(data, self._crc)
        self._last.end = self.end = end + size  # type: ignore[assignment]
        self._appended_ns = now_ns
        self._pending = pending = self._pending + size
        if (
            pending >= self._interval_bytes
            # A clock that was set back makes a record due too.
            or not 0 <= now_ns - self._clock_ns < self._interval_ns
        ):
            self._write_record(now_ns)

    def flush_index(self, now_ns: int) -> None:
        """Write the index record that covers the last bytes, if none does.

        To be called some time after each append: what no record covers is not there for who reads
        the files, however long nothing else comes.

        Args:
            now_ns: Unix time in nanoseconds.

        Raises:
            DiskFullError: No room for it; it is written with the next one.
            DataDirError: The disk failed.
        """
        if self._pending:
            with self._lock:
                if not self._closed:
                    self._write_record(now_ns)

    def begin_segment(self) -> None:
        """End the last segment where it is, so that it can be trimmed as any other.

        Quick, for the thread that appends. Without a byte in it, it stays the last.

        Raises:
            DiskFullError: No room; nothing was changed.
            DataDirError: The disk failed, or the journal is closed.
        """
        with self._lock:
            self._settle()
            if self.end > self._base:
                self._roll()

    # -- the last segment ------------------------------------------------------------------------

    def _append_slowly(self, data: memoryview, now_ns: int) -> None:
        """Append across the end of a segment or of the reserved room, or after a short write."""
        while data:
            self._make_room()
            part = data[: self._fast_end - self.end]
            try:
                written = _pwrite(self._data_fd, part, self.end - self._base)
            except OSError as exc:
                raise storage_error(exc, self._last.path) from exc
            if not written:
                raise DiskFullError("nothing could be written", path=self._last.path)
            self._count(part[:written], now_ns)
            data = data[written:]

    def _count(self, stored: memoryview, now_ns: int) -> None:
        """Take in bytes that have been written."""
        self._crc = _crc32c(stored, self._crc)
        self._last.end = self.end = Offset(self.end + len(stored))
        self._appended_ns = now_ns
        self._pending += len(stored)
        if self._pending >= self._interval_bytes or now_ns - self._clock_ns >= self._interval_ns:
            self._write_record(now_ns)

    def _make_room(self) -> None:
        """Roll a full segment and reserve room for what comes next."""
        with self._lock:
            self._settle()
        if self.end - self._base >= self._segment_bytes or self._index_full:
            self._roll()
        self._fast_end = self.end  # gives back what is still reserved
        room = self._base + self._segment_bytes - self.end
        if self._budget.limit is not None:
            room = min(room, self._budget.left, _RESERVE_BYTES)
        if room <= 0:
            raise DiskFullError(
                f"the quota of {self._budget.limit} bytes is used up",
                path=self.path,
                hint="raise it, or retain less",
            )
        self._fast_end = self.end + room

    @property
    def _index_full(self) -> bool:
        return self._last.index_bytes >= MAX_INDEX_BYTES

    def _settle(self) -> None:
        """Raise DataDirError when it is closed; see `Journal._settle`."""
        if self._closed:
            raise DataDirError("the journal is closed", path=self.path)

    def _roll(self) -> None:
        """Begin a new segment at the end of the full one."""
        self._write_record(self._appended_ns)
        data = layout.segment_path(self.path, self.end)
        try:
            data_fd, index_fd = _create_files(data, layout.index_path(self.path, self.end))
        except OSError as exc:
            raise storage_error(exc, data) from exc
        with self._lock:
            full = self._last
            self._close_last()
            self._closed_bytes += full.disk_bytes
            self._unsynced.append(full)
            self._segments = (*self._segments, Segment(data, self.end, self.end, verified=True))
            self._names_changed += 1
            self._use_last(data_fd, index_fd)

    def _write_record(self, now_ns: int) -> None:
        """Cover the bytes since the last record by a new one, if there are any."""
        if not self._pending:
            return
        last = self._last
        time_ns = max(self._record_ns, self._appended_ns)
        record = layout.pack_record(self.end, time_ns, self._crc)
        try:
            written = _pwrite(self._index_fd, record, last.index_bytes)
        except OSError as exc:
            raise storage_error(exc, last.path) from exc
        if written != len(record):
            # The next attempt writes over the piece.
            raise DiskFullError("no room for an index record", path=last.path)
        last.index_bytes += written
        self._record_ns, self._clock_ns = time_ns, now_ns
        self._pending = self._crc = 0
        if self._index_full:
            self._fast_end = self.end  # the next append rolls

    def _open_last(self) -> None:
        """Get ready to append to the last segment, which its index covers as a whole."""
        last = self._segments[-1]
        data_fd = os.open(last.path, os.O_RDWR)
        try:
            index_fd = os.open(layout.index_path(self.path, last.start), os.O_RDWR)
        except BaseException:
            os.close(data_fd)
            raise
        self._use_last(data_fd, index_fd)

    def _use_last(self, data_fd: int, index_fd: int) -> None:
        self._last = last = self._segments[-1]
        self._base = last.start
        self._pending = self._crc = 0
        self._fast_end = self.end
        self._data_fd, self._index_fd = data_fd, index_fd

    def _close_last(self) -> None:
        for fd in (self._data_fd, self._index_fd):
            if fd >= 0:
                os.close(fd)
        self._data_fd = self._index_fd = -1


def _create_files(data: Path, index: Path) -> tuple[int, int]:
    """Make the files of a new segment, both or neither, and give back their descriptors."""
    # The index first: an empty index without data is recognised as an unfinished roll.
    index_fd = os.open(index, CREATE, 0o644)
    try:
        return os.open(data, CREATE, 0o644), index_fd
    except BaseException:
        os.close(index_fd)
        index.unlink(missing_ok=True)
        raise
