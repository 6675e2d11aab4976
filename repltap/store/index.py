"""Reading a segment's index: checking bytes against it, and looking up times and offsets.

Lookups are binary searches with `pread`: the index of a full 64 MiB segment is some 25 KB, and
nothing of it is kept in memory. Writing records is the journal's; the format is `format`'s.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from repltap.position import Offset
from repltap.store.format import RECORD_BYTES, Record, crc32c, unpack_record, unpack_records

_READ_BYTES = 1 << 20
_READ_RECORDS = 4096


@dataclass(frozen=True, slots=True)
class Scan:
    """What checking a whole segment against its index found.

    Attributes:
        records: How many records are right from the front.
        end: What they cover: the bytes below it are the master's.
        time_ns: Of the last of them, 0 for none.
        damage: What is wrong behind `end`; "" when index and data end there together.
        resumes: Valid data follows behind the damage, so a torn tail does not explain it.
    """

    records: int
    end: Offset
    time_ns: int
    damage: str
    resumes: bool


def read_records(path: Path, count: int | None = None) -> list[Record | None]:
    """Read an index, None for each record whose own checksum is wrong.

    Args:
        path: The index file.
        count: How many records from the front, None for all whole ones.

    Raises:
        OSError: It can't be read.
    """
    raw = path.read_bytes()
    return list(unpack_records(raw if count is None else raw[: count * RECORD_BYTES]))


def scan_segment(data: Path, index: Path, start: Offset) -> Scan:
    """Check every byte of a segment against its index.

    Args:
        data: The segment file.
        index: Its index file; a missing one counts as empty.
        start: The offset of the first byte.

    Raises:
        OSError: They can't be read.
    """
    raw_size = index.stat().st_size if index.exists() else 0
    records = read_records(index) if raw_size else []
    fd = os.open(data, os.O_RDONLY)
    try:
        size = os.fstat(fd).st_size
        data_bytes = _Bytes(fd)
        good, end, time_ns, damage = 0, start, 0, ""
        for record in records:
            damage = _check(data_bytes, start, end, record)
            if damage:
                break
            assert record is not None
            good, end, time_ns = good + 1, record.end, record.time_ns
        if not damage:
            damage = _ragged_end(start + size - end, raw_size % RECORD_BYTES)
        resumes = _resumes(data_bytes, start, start + size, records[good:])
        return Scan(good, end, time_ns, damage, resumes)
    finally:
        os.close(fd)


class Checked(NamedTuple):
    """Bytes that one index record covers, compared with it; more where a record is damaged.

    Attributes:
        begin: The first of the bytes.
        end: After the last; `begin` where nobody can tell.
        damage: What is wrong, "" for nothing.
        in_index: It is the index that is damaged, so the bytes can't be checked.
    """

    begin: Offset
    end: Offset
    damage: str
    in_index: bool


def walk_records(data_fd: int, index_fd: int, start: Offset, count: int) -> Iterator[Checked]:
    """Compare the bytes of a segment with the first `count` records of its index, in order.

    It goes on behind what is damaged. Memory is bounded.

    Raises:
        OSError: The files can't be read.
    """
    begin, position, lost = start, 0, ""
    data = _Bytes(data_fd)
    while position < count:
        wanted = min(count - position, _READ_RECORDS)
        raw = os.pread(index_fd, wanted * RECORD_BYTES, position * RECORD_BYTES)
        raw = raw.ljust(wanted * RECORD_BYTES, b"\xff")  # an index that is shorter is damaged
        for record in unpack_records(raw):
            if record is None or record.end <= begin:
                # Where the next one begins is lost with it.
                lost = lost or _check(data, start, begin, record)
                continue
            damage = lost or _check(data, start, begin, record)
            yield Checked(begin, record.end, damage, bool(lost))
            begin, lost = record.end, ""
        position += wanted
    if lost:
        yield Checked(begin, begin, lost, True)


def check_records(
    data_fd: int,
    index_fd: int,
    start: Offset,
    count: int,
    checked: Callable[[int], None] | None = None,
) -> tuple[Offset, str]:
    """Check the bytes that the first `count` records of an index cover, up to the first damage.

    Args:
        data_fd, index_fd: The files of the segment.
        start: The offset of its first byte.
        count: How many records.
        checked: Told of each number of bytes that is right; may raise to end it.

    Returns:
        Up to which offset they are right, and what is wrong there ("" for nothing).

    Raises:
        OSError: The files can't be read.
    """
    end = start
    for found in walk_records(data_fd, index_fd, start, count):
        if found.damage:
            return end, found.damage
        end = found.end
        if checked is not None:
            checked(end - found.begin)
    return end, ""


def data_crc(fd: int, position: int, size: int) -> int | None:
    """CRC-32C of a range of a file, None when the file ends before it.

    Raises:
        OSError: It can't be read.
    """
    crc = 0
    while size:
        chunk = os.pread(fd, min(size, _READ_BYTES), position)
        if not chunk:
            return None
        crc = crc32c(chunk, crc)
        position += len(chunk)
        size -= len(chunk)
    return crc


class _Bytes:
    """The bytes of a segment, read a large piece at a time: a record may cover a few only."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._start = 0
        self._view = memoryview(b"")

    def crc(self, position: int, size: int) -> int | None:
        """As `data_crc`."""
        low = position - self._start
        if not 0 <= low <= len(self._view) - size:
            if size > _READ_BYTES:
                return data_crc(self._fd, position, size)
            self._view = memoryview(os.pread(self._fd, _READ_BYTES, position))
            self._start, low = position, 0
            if size > len(self._view):
                return None
        return int(crc32c(self._view[low : low + size]))


def _check(data: _Bytes, start: Offset, begin: Offset, record: Record | None) -> str:
    """Say what is wrong with the record that should cover the bytes from `begin` on, or ""."""
    if record is None:
        return "an index record does not match its checksum"
    if record.end <= begin:
        return "an index record does not follow the one before it"
    crc = data.crc(begin - start, record.end - begin)
    if crc is None:
        return f"the data ends before offset {record.end}, which the index covers"
    return "" if crc == record.data_crc else "the data does not match its checksum"


def _ragged_end(data_bytes: int, index_bytes: int) -> str:
    if data_bytes > 0:
        return f"{data_bytes} bytes are not covered by the index"
    return "the index ends within a record" if index_bytes else ""


def _resumes(data: _Bytes, start: Offset, stop: int, rest: list[Record | None]) -> bool:
    """Tell whether any record behind a damaged one still matches its bytes."""
    previous = None
    for position, record in enumerate(rest):
        if record is not None and position:
            if previous is None:
                # Where it begins is lost with the record before, so its bytes can't be checked;
                # that they are there is enough to doubt that a crash tore the file off before.
                if start < record.end <= stop:
                    return True
            elif not _check(data, start, previous.end, record):
                return True
        previous = record
    return False


def record_at(path: Path, position: int) -> Record | None:
    """Read one record of an index, None when it is not there or damaged.

    Raises:
        OSError: The index can't be read.
    """
    with open(path, "rb") as file:
        file.seek(position * RECORD_BYTES)
        return unpack_record(file.read(RECORD_BYTES))


def first_where(path: Path, count: int, wanted: Callable[[Record], bool]) -> int:
    """Find the first of `count` records for which `wanted`, false up to some record, is true.

    Returns:
        Its position; `count` when it is true for none.

    Raises:
        OSError: The index can't be read.
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        low, high = 0, count
        while low < high:
            middle = (low + high) // 2
            record = unpack_record(os.pread(fd, RECORD_BYTES, middle * RECORD_BYTES))
            if record is not None and wanted(record):
                high = middle
            else:
                low = middle + 1
        return low
    finally:
        os.close(fd)
