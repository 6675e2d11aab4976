"""The bytes of a segment: record batches, as Kafka writes them (magic 2). Nothing here does I/O.

A segment file is batches, one after the other, nothing else. The format is Kafka's own, as its
protocol guide publishes it ("Record Batch"), so that tools for Kafka's segments read these:
`kafka-dump-log.sh --print-data-log --files 00000000000000000000.log`. All numbers are big-endian,
without padding::

    0   i64  base offset       of the first record; the next batch's is the last record's plus 1
    8   i32  length            bytes that follow this field: all of the batch but 12
    12  i32  leader epoch      0
    16  i8   magic             2
    17  u32  crc               CRC-32C of everything from byte 21 to the end of the batch
    21  i16  attributes        0: not compressed; 4: the records are one zstd frame
    23  i32  last offset delta of the last record: the number of records less 1
    27  i64  base timestamp    of the first record, Unix milliseconds
    35  i64  max timestamp     the largest of all records
    43  i64  producer id       -1
    51  i16  producer epoch    -1
    53  i32  base sequence     -1
    57  i32  count             of records, 1 or more
    61       records

The checksum does not cover the first 17 bytes. They are checked otherwise: a reader knows which
offset comes next, the epoch and the magic are constant, and with another length the checksum fails.

A record. `varint` is a signed number in zigzag form (0, -1, 1, -2 become 0, 1, 2, 3), seven bits a
byte, the lowest first, the highest bit of a byte says that more follow::

    varint  length             bytes of the record that follow this field
    i8      attributes         0
    varint  timestamp delta    to the batch's base timestamp, negative where a clock went back
    varint  offset delta       0, 1, 2, ... within the batch
    varint  key length, key    -1 and nothing for no key
    varint  value length, value
    varint  count of headers; of each: varint length, name; varint length, value

Keys, values and headers are what `sinks.log` says. Example: one record at offset 5, at 1000 ms, key
`0:k`, value `{}`, one header `kind` = `command`; 86 bytes, CRC-32C 0x7fecb95d::

    0000000000000005 0000004a 00000000 02 7fecb95d
    0000 00000000 00000000000003e8 00000000000003e8 ffffffffffffffff ffff ffffffff 00000001
    30 00 00 00 06 303a6b 04 7b7d 02 08 6b696e64 0e 636f6d6d616e64
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import anycrc
import zstandard

HEADER_BYTES = 61

crc32c = anycrc.Model("CRC32C").calc
"""CRC-32C of a buffer, optionally continuing from a previous value; 0 for no bytes."""

_LEAD = struct.Struct(">qiibI")  # up to where the checksum's scope begins
_BODY = struct.Struct(">hiqqqhii")
_HEADER = struct.Struct(">qiibIhiqqqhii")
_MAGIC = 2
_ZSTD = 4
_NOT_IN_LENGTH = 12  # base offset and length
_MAX_LENGTH = 2**31 - 1

_SMALL = 8192
_ZSTD_LEVEL = 3


class BatchError(ValueError):
    """The bytes are no batch, or not the one that belongs there; the text says in what way."""


class BatchHeader(NamedTuple):
    """What a batch says of itself.

    Attributes:
        base_offset: Of its first record.
        size: Bytes that it takes in the file, header included.
        last_offset: Of its last record.
        max_ts_ms: The largest time of its records, Unix milliseconds.
        crc: What CRC-32C of the bytes from 21 on has to be.
        compressed: Its records are a zstd frame.
        base_ts_ms: The first record's time.
        records: How many it has.
    """

    base_offset: int
    size: int
    last_offset: int
    max_ts_ms: int
    crc: int
    compressed: bool
    base_ts_ms: int
    records: int


class LogRecord(NamedTuple):
    """A record of the log.

    Attributes:
        offset: Its place in its partition, from 0.
        ts_ms: Unix milliseconds.
        key: None for none.
        value: What was logged.
        raw_headers: As they are in the batch, their count first: half of the time that reading a
            record takes would go into headers that nobody looks at.
    """

    offset: int
    ts_ms: int
    key: bytes | None
    value: bytes
    raw_headers: bytes

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Names and values, in their order.

        Raises:
            BatchError: They are not what the format says.
        """
        raw = self.raw_headers
        found = []
        try:
            count, position = _number(raw, 0)
            for _ in range(count):
                name, position = _bytes(raw, position)
                value, position = _bytes(raw, position)
                found.append((name or b"", value or b""))
        except IndexError as exc:
            raise BatchError("a record ends within its headers") from exc
        if position != len(raw):
            raise BatchError("bytes are left over behind a record's headers")
        return found


def varint(number: int) -> bytes:
    """Write a signed number."""
    if 0 <= number < _SMALL:
        return _VARINTS[number]
    return _varint(number)


def _varint(number: int) -> bytes:
    left = number * 2 if number >= 0 else -number * 2 - 1
    found = bytearray()
    while left > 0x7F:
        found.append(left & 0x7F | 0x80)
        left >>= 7
    found.append(left)
    return bytes(found)


_VARINTS = [_varint(number) for number in range(_SMALL)]


def header(name: bytes, value: bytes) -> bytes:
    """Write a header of a record."""
    return b"%b%b%b%b" % (varint(len(name)), name, varint(len(value)), value)


class BatchBuilder:
    """Puts a batch together. It begins again when it was taken.

    Args:
        compress: With zstd.

    Attributes:
        count: Records in it.
        size: Their bytes, before compression.
    """

    def __init__(self, *, compress: bool) -> None:
        self._zstd = zstandard.ZstdCompressor(level=_ZSTD_LEVEL) if compress else None
        self._begin()

    def _begin(self) -> None:
        self.count = 0
        self.size = 0
        self._pieces: list[bytes] = []
        self._base_ts_ms = 0
        self._max_ts_ms = 0

    def add(self, ts_ms: int, key: bytes | None, value: bytes, headers: bytes) -> None:
        """Add a record.

        Args:
            ts_ms: Unix milliseconds.
            key: None for none.
            value: What to log.
            headers: Their count as a `varint`, and each as `header` writes it.
        """
        count = self.count
        if not count:
            self._base_ts_ms = self._max_ts_ms = ts_ms
        elif ts_ms > self._max_ts_ms:
            self._max_ts_ms = ts_ms
        # Written out: calls of `varint` would be a third of the time that a record takes.
        delta, size, known = ts_ms - self._base_ts_ms, len(value), _VARINTS
        body = b"\0%b%b%b%b%b%b" % (
            known[delta] if 0 <= delta < _SMALL else _varint(delta),
            known[count] if count < _SMALL else _varint(count),
            b"\1" if key is None else varint(len(key)) + key,
            known[size] if size < _SMALL else _varint(size),
            value,
            headers,
        )
        size = len(body)
        lead = known[size] if size < _SMALL else _varint(size)
        self._pieces += (lead, body)
        self.size += len(lead) + size
        self.count = count + 1

    def take(self, base_offset: int) -> tuple[bytes, BatchHeader]:
        """Write the batch, and begin the next.

        Args:
            base_offset: The offset of its first record.

        Raises:
            BatchError: It is 2 GiB or larger.
        """
        records = b"".join(self._pieces)
        if self._zstd is not None:
            records = self._zstd.compress(records)
        length = HEADER_BYTES - _NOT_IN_LENGTH + len(records)
        if length > _MAX_LENGTH:
            raise BatchError(f"a record of {length} bytes is larger than a batch can be")
        compressed = self._zstd is not None
        body = _BODY.pack(
            *(_ZSTD if compressed else 0, self.count - 1, self._base_ts_ms, self._max_ts_ms),
            *(-1, -1, -1, self.count),
        )
        crc = crc32c(records, crc32c(body))
        found = BatchHeader(
            base_offset=base_offset,
            size=HEADER_BYTES + len(records),
            last_offset=base_offset + self.count - 1,
            max_ts_ms=self._max_ts_ms,
            crc=crc,
            compressed=compressed,
            base_ts_ms=self._base_ts_ms,
            records=self.count,
        )
        lead = _LEAD.pack(base_offset, length, 0, _MAGIC, crc)
        self._begin()
        return b"%b%b%b" % (lead, body, records), found


def read_header(raw: bytes | memoryview, expected: int | None = None) -> BatchHeader:
    """Read what a batch says of itself; its checksum is not compared yet.

    Args:
        raw: At least its first 61 bytes.
        expected: Its first record's offset, None where that is not known.

    Raises:
        BatchError: It is no batch, or another.
    """
    if len(raw) < HEADER_BYTES:
        raise BatchError(f"{len(raw)} bytes are no batch")
    (base, length, epoch, magic, crc, attributes, delta, base_ts, max_ts, *fixed, count) = (
        _HEADER.unpack_from(raw)
    )
    if magic != _MAGIC or epoch or attributes not in (0, _ZSTD) or fixed != [-1, -1, -1]:
        raise BatchError("there is no batch of this log")
    if length < HEADER_BYTES - _NOT_IN_LENGTH or count < 1 or delta != count - 1 or base < 0:
        raise BatchError("the header of the batch is damaged")
    if expected is not None and base != expected:
        raise BatchError(f"the batch begins at offset {base}, not at {expected}")
    return BatchHeader(
        base_offset=base,
        size=length + _NOT_IN_LENGTH,
        last_offset=base + delta,
        max_ts_ms=max_ts,
        crc=crc,
        compressed=attributes == _ZSTD,
        base_ts_ms=base_ts,
        records=count,
    )


def check(raw: bytes | memoryview, found: BatchHeader) -> None:
    """Compare a whole batch with its checksum.

    Raises:
        BatchError: It does not match, or there is less of it.
    """
    if len(raw) < found.size:
        raise BatchError(f"the batch ends after {len(raw)} of {found.size} bytes")
    with memoryview(raw) as view:
        matches = crc32c(view[21 : found.size]) == found.crc
    if not matches:
        raise BatchError("the batch does not match its checksum")


def read_records(raw: bytes, found: BatchHeader) -> list[LogRecord]:
    """Read the records of a batch that was checked.

    Raises:
        BatchError: Its records are not what the format says, although the checksum matches.
    """
    data = raw[HEADER_BYTES : found.size]
    if found.compressed:
        try:
            data = zstandard.ZstdDecompressor().decompress(data)
        except zstandard.ZstdError as exc:
            raise BatchError(f"the batch can't be decompressed: {exc}") from exc
    records: list[LogRecord] = []
    base, base_ts_ms, position, whole = found.base_offset, found.base_ts_ms, 0, len(data)
    try:
        for delta in range(found.records):
            length, position = _number(data, position)
            end = position + length
            ts_delta = data[position + 1]
            if ts_delta < 0x80:  # most are short
                position += 2
                ts_delta = ts_delta >> 1 ^ -(ts_delta & 1)
            else:
                ts_delta, position = _number(data, position + 1)
            offset_delta, position = _number(data, position)
            key, position = _bytes(data, position)
            value, position = _bytes(data, position)
            if offset_delta != delta or not position < end <= whole:
                raise BatchError("a record is not what its batch says")
            records.append(
                LogRecord(
                    base + delta, base_ts_ms + ts_delta, key, value or b"", data[position:end]
                )
            )
            position = end
    except IndexError as exc:
        raise BatchError("the batch ends within a record") from exc
    if position != whole:
        raise BatchError("bytes are left over behind the records")
    return records


def _bytes(data: bytes, position: int) -> tuple[bytes | None, int]:
    size = data[position]
    if size < 0x80:  # most are short
        position += 1
        size = size >> 1 ^ -(size & 1)
    else:
        size, position = _number(data, position)
    if size < 0:
        return None, position
    return data[position : position + size], position + size


def _number(data: bytes, position: int) -> tuple[int, int]:
    found = shift = 0
    while True:
        byte = data[position]
        position += 1
        found |= (byte & 0x7F) << shift
        if byte < 0x80:
            return found >> 1 ^ -(found & 1), position
        shift += 7


def headers_of(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Write all headers of a record."""
    return varint(len(pairs)) + b"".join(header(name, value) for name, value in pairs)
