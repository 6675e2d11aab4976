"""Taking bytes from the end of a journal: planned without changing anything, then applied.

`Journal.truncate` plans, lowers the durable mark to `Cut.covered`, forgets the bytes in memory, and
applies. Applying can fail half-way (no room, a broken disk) and is then repeated as a whole, by the
same process; a process that dies instead leaves files that recovery accepts at any point, because
nothing it finds damaged lies below the mark.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from repltap.errors import CorruptStoreError
from repltap.position import Offset
from repltap.store import format as layout
from repltap.store.index import data_crc, first_where, record_at
from repltap.store.metadata import fsync_dir
from repltap.store.segment import Segment


@dataclass(frozen=True, slots=True)
class Cut:
    """What has to be done to the files for a journal to end at `at`.

    Attributes:
        segment: The one that becomes the last.
        at: Where it ends then.
        removed: The ones after it, oldest first.
        covered: Up to where the records that stay as they are cover it; at most `at`.
        kept_index_bytes: The size of those records.
        record: The record that covers the rest up to `at`; empty when there is no rest.
    """

    segment: Segment
    at: Offset
    removed: tuple[Segment, ...]
    covered: Offset
    kept_index_bytes: int
    record: bytes

    @property
    def index_bytes(self) -> int:
        """The size of the segment's index afterwards."""
        return self.kept_index_bytes + len(self.record)

    def apply(self) -> None:
        """Change the files; blocking, durable. After a failure, apply it again.

        Raises:
            OSError: The files can't be written or removed; some may have been.
        """
        for segment in reversed(self.removed):
            # The index first: data without one is cut off by recovery, an index without data not.
            layout.index_path(segment.path.parent, segment.start).unlink(missing_ok=True)
            segment.path.unlink(missing_ok=True)
        directory = self.segment.path.parent
        if self.removed:
            # Segments that come back behind a cut index would look like corruption.
            fsync_dir(directory)
        index_fd = os.open(layout.index_path(directory, self.segment.start), os.O_RDWR)
        try:
            # Over a record that is there: on most file systems that needs no room.
            if os.pwrite(index_fd, self.record, self.kept_index_bytes) != len(self.record):
                raise OSError(errno.ENOSPC, "no room for an index record")
            os.truncate(index_fd, self.index_bytes)
            data_fd = os.open(self.segment.path, os.O_RDWR)
            try:
                # Last: data past the last record is a torn tail if we die in between.
                os.truncate(data_fd, self.at - self.segment.start)
                os.fsync(data_fd)
            finally:
                os.close(data_fd)
            os.fsync(index_fd)
        finally:
            os.close(index_fd)


def plan_cut(segment: Segment, at: Offset, removed: tuple[Segment, ...] = ()) -> Cut:
    """Find out how to end a journal at `at`; blocking, changes nothing.

    Args:
        segment: The one that holds or begins at `at`; its index covers it up to there.
        at: The new end; `segment.start <= at <= segment.end`.
        removed: The segments after it.

    Raises:
        CorruptStoreError: The bytes around `at` do not match the index.
        OSError: The files can't be read.
    """
    index = layout.index_path(segment.path.parent, segment.start)
    count = segment.index_bytes // layout.RECORD_BYTES
    keep = first_where(index, count, lambda record: record.end > at)
    covered = segment.start
    if keep:
        before = record_at(index, keep - 1)
        if before is None:
            raise _damaged(segment, covered)
        covered = before.end
    record = b""
    if covered < at:
        record = _record_up_to(segment, covered, at, record_at(index, keep))
    return Cut(segment, at, removed, covered, keep * layout.RECORD_BYTES, record)


def _record_up_to(segment: Segment, begin: Offset, at: Offset, old: layout.Record | None) -> bytes:
    """Make the record that covers `begin` to `at`, a part of what the old one covers."""
    fd = os.open(segment.path, os.O_RDONLY)
    try:
        # Checked before it is covered by a new checksum, which would hide the damage.
        whole = old and data_crc(fd, begin - segment.start, old.end - begin)
        part = data_crc(fd, begin - segment.start, at - begin)
    finally:
        os.close(fd)
    if old is None or part is None or whole != old.data_crc:
        raise _damaged(segment, begin)
    return layout.pack_record(at, old.time_ns, part)


def _damaged(segment: Segment, offset: Offset) -> CorruptStoreError:
    return CorruptStoreError(
        f"damaged at offset {offset}: the data does not match its index",
        path=segment.path,
        hint="check the disk",
    )
