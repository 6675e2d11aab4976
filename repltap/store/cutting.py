"""Cutting a closed segment at an offset, for `Journal.truncate`."""

from __future__ import annotations

import errno
import os

from repltap.errors import CorruptStoreError
from repltap.position import Offset
from repltap.store import format as layout
from repltap.store.index import data_crc, read_records
from repltap.store.segment import Segment


def cut_segment(segment: Segment, at: Offset) -> None:
    """Take everything from `at` on out of a segment that its index covers; blocking, durable.

    Args:
        segment: Not being written to. Its `end` and `index_bytes` are updated.
        at: From where on; `segment.start <= at <= segment.end`.

    Raises:
        CorruptStoreError: The bytes around `at` do not match the index; nothing was changed.
        OSError: The files can't be read or written.
    """
    index = layout.index_path(segment.path.parent, segment.start)
    records = read_records(index, segment.index_bytes // layout.RECORD_BYTES)
    begin, keep, tail = segment.start, 0, b""
    data_fd = os.open(segment.path, os.O_RDWR)
    index_fd = os.open(index, os.O_RDWR)
    try:
        for record in records:
            if record is not None and record.end <= at:
                begin, keep = record.end, keep + 1
                continue
            if at > begin:
                # Checked before it is covered by a new checksum, which would hide the damage.
                whole = record and data_crc(data_fd, begin - segment.start, record.end - begin)
                part = data_crc(data_fd, begin - segment.start, at - begin)
                if record is None or part is None or whole != record.data_crc:
                    raise CorruptStoreError(
                        f"damaged at offset {begin}: the data does not match its index",
                        path=segment.path,
                        hint="check the disk",
                    )
                tail = layout.pack_record(at, record.time_ns, part)
            break
        position = keep * layout.RECORD_BYTES
        # The index first: data past its last record is a torn tail if we die in between.
        os.truncate(index_fd, position)
        if tail and os.pwrite(index_fd, tail, position) != len(tail):
            raise OSError(errno.ENOSPC, "no room for an index record")
        os.truncate(data_fd, at - segment.start)
        os.fsync(data_fd)
        os.fsync(index_fd)
        segment.end = at
        segment.index_bytes = position + len(tail)
    finally:
        os.close(data_fd)
        os.close(index_fd)
