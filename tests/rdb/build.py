"""RDBs made by hand, byte by byte: what no server here writes, and what none would."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

import anycrc

from repltap.rdb._hot.source import Limits, Source
from repltap.rdb.entries import Entry, Item, Strings, expand
from repltap.rdb.reader import RdbReader

_crc64 = anycrc.Model("CRC64-REDIS").calc

Read = Callable[[int], bytes]


def length(number: int) -> bytes:
    """Encode a length in the shortest way."""
    if number < 0x40:
        return bytes([number])
    if number < 0x4000:
        return bytes([0x40 | number >> 8, number & 0xFF])
    if number < 1 << 32:
        return b"\x80" + number.to_bytes(4, "big")
    return b"\x81" + number.to_bytes(8, "big")


def string(value: bytes) -> bytes:
    """Encode a string as it is."""
    return length(len(value)) + value


def strings(*values: bytes) -> bytes:
    """Encode strings behind each other."""
    return b"".join(map(string, values))


def rdb(body: bytes, magic: bytes = b"REDIS0012", checksum: int | None = None) -> bytes:
    """Put a header before a body and an end behind it, with the right checksum if none is given."""
    data = magic + body + b"\xff"
    if magic.startswith(b"REDIS") and int(magic[5:]) < 5:
        return data
    return data + (_crc64(data) if checksum is None else checksum).to_bytes(8, "little")


def key(number: int, name: bytes, value: bytes) -> bytes:
    """Encode a key."""
    return bytes([number]) + string(name) + value


def listpack(entries: Iterable[bytes], count: int | None = None) -> bytes:
    """Make a listpack of encoded entries, which get their backward lengths here."""
    found = list(entries)
    body = b"".join(entry + back(len(entry)) for entry in found) + b"\xff"
    shown = len(found) if count is None else count
    return (6 + len(body)).to_bytes(4, "little") + shown.to_bytes(2, "little") + body


def back(size: int) -> bytes:
    """Encode a backward length (listpack.c `lpEncodeBacklen`)."""
    # The largest of a width takes one more: the server compares with < where it means <=.
    width = 1 + sum(size >= most for most in (128, 16383, 2097151, 268435455))
    groups = [size >> 7 * at & 127 for at in reversed(range(width))]
    return bytes([groups[0], *(group | 128 for group in groups[1:])])


def lp_text(value: bytes) -> bytes:
    """Encode a listpack string."""
    if len(value) < 64:
        return bytes([0x80 | len(value)]) + value
    if len(value) < 4096:
        return bytes([0xE0 | len(value) >> 8, len(value) & 0xFF]) + value
    return b"\xf0" + len(value).to_bytes(4, "little") + value


def lp_number(value: int) -> bytes:
    """Encode a listpack integer in eight bytes."""
    return b"\xf4" + value.to_bytes(8, "little", signed=True)


def ziplist(entries: Iterable[bytes], count: int | None = None) -> bytes:
    """Make a ziplist of encoded entries, which get the sizes of those before them here."""
    found = list(entries)
    body = bytearray()
    before = 0
    for entry in found:
        previous = bytes([before]) if before < 254 else b"\xfe" + before.to_bytes(4, "little")
        body += previous + entry
        before = len(previous) + len(entry)
    shown = len(found) if count is None else count
    size = 10 + len(body) + 1
    head = size.to_bytes(4, "little") + (size - 1 - before).to_bytes(4, "little")
    return head + shown.to_bytes(2, "little") + bytes(body) + b"\xff"


def source(data: bytes, limits: Limits | None = None, step: int | None = None) -> Source:
    """Make a source of bytes, which come `step` at a time."""
    return Source(reading(data, step), limits or Limits())


def reading(data: bytes, step: int | None = None) -> Read:
    """Make what a reader reads from."""
    file = BytesIO(data)
    return file.read if step is None else lambda size: file.read(min(size, step))


def items(data: bytes, step: int | None = None, **options: Any) -> list[Item]:  # Any: keywords
    """Read all of an RDB."""
    return list(RdbReader(reading(data, step), **options))


def entries(data: bytes, step: int | None = None, **options: Any) -> list[Entry]:
    """Read the keys of an RDB."""
    found: list[Entry] = []
    for item in items(data, step, **options):
        if isinstance(item, Strings):
            found += expand(item)
        elif isinstance(item, Entry):
            found.append(item)
    return found
