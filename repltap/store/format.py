"""The files of a journal: names, widths, byte order, checksum scope. Nothing here does I/O.

A journal is a directory of segments that continue each other without a gap::

    00000000000000001000.seg   stream bytes from offset 1000 on, nothing else
    00000000000000001000.idx   what is known about them: 24-byte records
    durable.mark               12 bytes: how far fsync has got
    00000000000000001730.seg.broken   a tail that recovery cut off, from offset 1730 on

**Names** carry the offset of the first byte in twenty decimal digits, so that names sort as offsets
do. Byte `o` of the stream is at file position `o - start` of the segment that holds it, which is
what lets `sendfile` serve it.

**Index records** are little-endian, without padding::

    0   u64  end      offset after the last byte covered; greater than the record before it
    8   u64  time     Unix nanoseconds when that last byte came in; never less than before
    16  u32  data     CRC-32C of the stream bytes since the record before (or the segment's start)
    20  u32  check    CRC-32C of the twenty bytes above

Example: a segment that starts at 1000 holds `*1\\r\\n$4\\r\\nPING\\r\\n`, stored at 1.5 s past the
epoch. Its index is one record, end 1014, time 1_500_000_000, data 0x5413a37a, check 0xcde4268f::

    f603000000000000 002f685900000000 7aa31354 8f26e4cd

**durable.mark** is `u64 offset, u32 CRC-32C of those eight bytes`, written in place after an fsync
of everything below `offset` has returned. It is a hint and not fsynced itself: an older value only
makes recovery more forgiving, a damaged one more strict.

**What recovery may do** follows from the three. The records of a segment are believed from the
front as long as each is intact and its bytes match. Where they stop matching:

- nothing behind the damage is valid: a torn tail. The rest is cut off and kept as `.broken`.
- something behind it is valid, but the damage is at or past the mark: a power failure wrote pages
  out of order. Nobody was told that these bytes are safe; they are cut off in the same way.
- something behind it is valid and the damage is below the mark: corruption. Nothing is changed.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import anycrc

from repltap.position import Offset

SEGMENT_SUFFIX = ".seg"
INDEX_SUFFIX = ".idx"
BROKEN_SUFFIX = ".seg.broken"
MARK_NAME = "durable.mark"

RECORD_BYTES = 24
MARK_BYTES = 12

crc32c = anycrc.Model("CRC32C").calc
"""CRC-32C of a buffer, optionally continuing from a previous value; 0 for no bytes."""

_BODY = struct.Struct("<QQI")
_CHECK = struct.Struct("<I")
_RECORD = struct.Struct("<QQII")
_MARK_OFFSET = struct.Struct("<Q")
_SEGMENT_NAME = re.compile(r"(\d{20})\.(seg|idx)")


class Record(NamedTuple):
    """One index record that passed its own checksum."""

    end: Offset
    time_ns: int
    data_crc: int


def pack_record(end: int, time_ns: int, data_crc: int) -> bytes:
    """Encode one index record."""
    body = _BODY.pack(end, time_ns, data_crc)
    return body + _CHECK.pack(crc32c(body))


def unpack_record(raw: bytes) -> Record | None:
    """Decode one index record; None when it is short or its checksum is wrong."""
    if len(raw) != RECORD_BYTES or raw[20:] != _CHECK.pack(crc32c(raw[:20])):
        return None
    end, time_ns, data_crc = _BODY.unpack_from(raw)
    return Record(Offset(end), time_ns, data_crc)


def unpack_records(raw: bytes) -> Iterator[Record | None]:
    """Decode many index records, None for each whose checksum is wrong; what is left over not."""
    view = memoryview(raw)[: len(raw) // RECORD_BYTES * RECORD_BYTES]
    place = 0
    for end, time_ns, data_crc, check in _RECORD.iter_unpack(view):
        body = view[place : place + _BODY.size]
        place += RECORD_BYTES
        yield Record(end, time_ns, data_crc) if crc32c(body) == check else None


def pack_mark(offset: int) -> bytes:
    """Encode the content of `durable.mark`."""
    body = _MARK_OFFSET.pack(offset)
    return body + _CHECK.pack(crc32c(body))


def unpack_mark(raw: bytes) -> Offset | None:
    """Decode the content of `durable.mark`; None when it is damaged."""
    if len(raw) != MARK_BYTES or raw[8:] != _CHECK.pack(crc32c(raw[:8])):
        return None
    return Offset(_MARK_OFFSET.unpack_from(raw)[0])


def segment_path(directory: Path, start: int) -> Path:
    """Name the data file of the segment that begins at `start`."""
    return directory / f"{start:020d}{SEGMENT_SUFFIX}"


def index_path(directory: Path, start: int) -> Path:
    """Name the index file of the segment that begins at `start`."""
    return directory / f"{start:020d}{INDEX_SUFFIX}"


def broken_path(directory: Path, start: int) -> Path:
    """Name the file that keeps what recovery cut off at `start`."""
    return directory / f"{start:020d}{BROKEN_SUFFIX}"


def parse_name(name: str) -> tuple[Offset, str] | None:
    """Read a file name of this format: its offset and `seg` or `idx`; None for any other file."""
    match = _SEGMENT_NAME.fullmatch(name)
    return (Offset(int(match[1])), match[2]) if match else None
