"""A snapshot on its way from the master into the store, readable while it grows.

An intake belongs to the history whose offset it describes: a new, unpublished one after a
FULLRESYNC, the current one when a stored snapshot is refreshed. Its last bytes are held back from
readers until its owner releases them: when the checksum was right and, for a refresh, when it is
sure that it is of the history that is served. So no replica ever loads a damaged snapshot, or one
of another history, as a good one.
"""

from __future__ import annotations

import os
import time

from repltap.endings import DisconnectReason
from repltap.position import Offset
from repltap.rdb.header import parse_header
from repltap.readers import Reader
from repltap.store.history import HistoryStore
from repltap.store.snapshots import Snapshot, SnapshotWriter

HOLD_BACK_BYTES = 64
"""Withheld from readers until the whole is released. An RDB without its last nine bytes (end
opcode and checksum) can't be loaded, so any number from nine up serves."""

_HEADER_BYTES = 64 << 10
_MAGIC_BYTES = 9


class Intake:
    """One arriving snapshot.

    Args:
        history: The history it belongs to.
        writer: The file it is written to.
        origin: The master it comes from, for people.

    Attributes:
        offset: The stream offset that it describes.
        size: Its size in bytes, None while the master has not said it.
        started: The master has begun to send it.
        verified: All of it is here and its checksum is right.
        released: Readers may have all of it.
        failed: It will never be released.
        followed: How many readers it has had.
    """

    def __init__(self, history: HistoryStore, writer: SnapshotWriter, *, origin: str) -> None:
        self.history = history
        self.writer = writer
        self.origin = origin
        self.offset: Offset = writer.offset
        self.size: int | None = None
        self.started = False
        self.verified = False
        self.released = False
        self.failed = False
        self.followed = 0
        self._followers: set[Reader] = set()
        self._waiting: set[Reader] = set()  # those of them who have read all that is visible
        self.started_at = self.last_io_at = time.time()
        self._crc64 = 0
        self._magic = b""

    @property
    def format(self) -> str | None:
        """The RDB magic and version in lower case, None until they have arrived."""
        if len(self._magic) < _MAGIC_BYTES:
            return None
        return self._magic.decode("ascii", "replace").lower()

    @property
    def visible(self) -> int:
        """How many bytes from the beginning may be read by others now."""
        return self.writer.size if self.released else max(0, self.writer.size - HOLD_BACK_BYTES)

    def begin(self, size: int | None) -> None:
        """The master has announced the payload; `size` is None in the `$EOF:` form."""
        self.size = size
        self.started = True
        self.last_io_at = time.time()

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes.

        Raises:
            DiskFullError: No room.
        """
        self.writer.write(data)
        if len(self._magic) < _MAGIC_BYTES:
            self._magic += bytes(data[: _MAGIC_BYTES - len(self._magic)])
        self.last_io_at = time.time()
        self._wake()

    def verify(self, crc64: int) -> None:
        """All bytes are here and the checksum over them was right."""
        self._crc64 = crc64
        self.size = self.writer.size
        self.verified = True

    def release(self) -> None:
        """Let readers have the last bytes: it has been verified, and is what it is taken for."""
        assert self.verified
        assert not self.failed
        self.released = True
        self._wake()

    def fail(self, detail: str) -> None:
        """It will never be released: its readers are dropped."""
        self.failed = True
        for reader in list(self._followers):
            reader.drop(DisconnectReason.SNAPSHOT_ABORTED, detail)

    # -- what readers call -----------------------------------------------------------------------

    @property
    def followers(self) -> int:
        """How many read it now."""
        return len(self._followers)

    def follow(self, reader: Reader) -> None:
        """Begin to read it: from now on `reader` is dropped when it fails."""
        self._followers.add(reader)
        self.followed += 1

    def leave(self, reader: Reader) -> None:
        """Read it no longer."""
        self._followers.discard(reader)
        self._waiting.discard(reader)

    def wait(self, reader: Reader) -> None:
        """Wake this reader once, when more of it may be read."""
        self._waiting.add(reader)

    # -- the file --------------------------------------------------------------------------------

    def sync(self) -> None:
        """Force what is written to the disk; blocking, for a thread.

        Raises:
            StoreError: The disk refused.
        """
        self.writer.sync()

    def publish(self) -> Snapshot:
        """Make the file durable and known to its history; blocking, for a thread.

        Returns:
            The stored snapshot.

        Raises:
            StoreError: It could not be written, or does not begin as an RDB does.
        """
        header = parse_header(os.pread(self.writer.fd, _HEADER_BYTES, 0))
        if not self.history.published:
            # -1 or absent: the master had selected none (rdb.c rdbSaveInfoAuxFields).
            database = header.aux.get("repl-stream-db", "0")
            self.history.start_db = int(database) if database.isdigit() else 0
        now = time.time()
        return self.writer.publish(
            format=header.format,
            crc64=self._crc64,
            aux=header.aux,
            duration_seconds=now - self.started_at,
            now=now,
        )

    def discard(self) -> None:
        """Remove the file; blocking, for a thread."""
        self.writer.discard()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for reader in waiting:
            reader.wake()
