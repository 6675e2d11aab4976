"""Runs of plain strings: the commonest of all keys, read in one loop over the buffer.

Hot and pure. It takes what lies in the buffer as a whole and stops before anything else: another
type or opcode, a compressed or large string, the end of the buffer. The reader's slower way goes
on from there and comes back.
"""

from __future__ import annotations

import struct
from typing import Final

from repltap.rdb._hot.source import Source

StringKey = tuple[bytes, bytes, int | None]

_EXPIRE_MS: Final = 0xFC
_WIDTHS: Final = (1, 2, 4)
_LONGEST: Final = 9 + 1 + 2 * (2 + 0x3FFF)
"""The longest record that is taken here; where there is more, no end has to be looked for."""


def take_strings(source: Source) -> list[StringKey]:  # noqa: PLR0915 - one loop, see above
    """Take string keys until something else comes.

    Args:
        source: A record begins in it.

    Returns:
        Key, value and expiry of those found, none if the first is something else.
    """
    if source.position + _LONGEST > source.end:
        source.fill(_LONGEST)
    found: list[StringKey] = _take_alike(source)
    data, position = source.data, source.position
    safe_end = source.end - _LONGEST
    append = found.append
    while position <= safe_end:
        record = position
        if data[record]:
            if data[record] != _EXPIRE_MS or data[record + 9]:
                break
            record += 9
        size = data[record + 1]
        start = record + 2
        if size >= 0x40:
            if size >= 0x80:
                break
            size = (size & 0x3F) << 8 | data[start]
            start += 1
        stop = start + size
        key = data[start:stop]
        size = data[stop]
        start = stop + 1
        if size < 0x40:
            stop = start + size
            value = data[start:stop]
        elif size < 0x80:
            stop = start + 1 + ((size & 0x3F) << 8 | data[start])
            value = data[start + 1 : stop]
        elif 0xC0 <= size < 0xC3:
            stop = start + _WIDTHS[size - 0xC0]
            value = b"%d" % int.from_bytes(data[start:stop], "little", signed=True)
        else:
            break
        if record == position:
            append((key, value, None))
        else:
            expire = int.from_bytes(data[position + 1 : record], "little", signed=True)
            append((key, value, expire))
        position = stop
    source.position = position
    return found


def _take_alike(source: Source) -> list[StringKey]:
    """Take the first key, and those behind it whose key and value are as long and do not expire.

    Datasets of fixed-size records are long runs of such, and are half the work this way.
    """
    data, position = source.data, source.position
    found: list[StringKey] = []
    if position + _LONGEST > source.end or data[position] or data[position + 1] >= 0x40:
        return found
    middle = position + 2 + data[position + 1]
    size = data[middle]
    start = middle + 1
    if size >= 0x40:
        if size >= 0x80:
            return found
        size = (size & 0x3F) << 8 | data[start]
        start += 1
    before_key, before_value = data[position : position + 2], data[middle:start]
    shape = struct.Struct(f"2s{middle - position - 2}s{start - middle}s{size}s")
    room = (source.end - position) // shape.size * shape.size
    for one, key, other, value in shape.iter_unpack(memoryview(data)[position : position + room]):
        if one != before_key or other != before_value:
            break
        found.append((key, value, None))
    source.position = position + len(found) * shape.size
    return found
