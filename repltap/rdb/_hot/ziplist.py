"""Ziplists and zipmaps, the packed forms before Redis 7 and before 2.6.

Ziplist: 4 bytes LE total size, 4 bytes tail offset, 2 bytes LE count (65535: not known), entries,
FF; an entry is the size of the one before (1 byte, or FE and 4), an encoding byte, and what it
announces (`ziplist.c`). Zipmap: a count (254 and more: not known), then per field its length and
bytes, the value's length, a number of unused bytes, the value, the unused bytes; FF (`zipmap.c`).
Hot and pure; integers come out as decimal text.
"""

from __future__ import annotations

from typing import Final

from repltap.rdb.fault import FaultError

HEADER_BYTES: Final = 10
UNKNOWN_COUNT: Final = 65535
ZIPMAP_UNKNOWN_COUNT: Final = 254

_END: Final = 0xFF
_WIDTHS: Final = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}
_IMMEDIATE: Final = [b"%d" % number for number in range(13)]


def begin(data: bytes) -> int:
    """Compare the header with the size.

    Returns:
        How many items the header says there are, `UNKNOWN_COUNT` when it does not say.

    Raises:
        FaultError: It is no ziplist.
    """
    if len(data) < HEADER_BYTES + 1:
        raise FaultError("a ziplist is shorter than its header", 0)
    if int.from_bytes(data[:4], "little") != len(data):
        raise FaultError("a ziplist is not as long as it says", 0)
    if data[-1] != _END:
        raise FaultError("a ziplist has no end byte", len(data) - 1)
    return data[8] | data[9] << 8


def read(  # noqa: PLR0915 - one loop: a call per entry would double its time
    data: bytes, position: int, limit: int, out: list[bytes]
) -> int:
    """Read items.

    Args:
        data: The whole ziplist; `begin` has accepted it.
        position: Where the first item is.
        limit: How many items at most.
        out: The items are appended to it.

    Returns:
        Where the next item is; `len(data) - 1` behind the last.

    Raises:
        FaultError: An entry is damaged.
    """
    end = len(data) - 1
    append = out.append
    while limit > 0 and position < end:
        limit -= 1
        first = data[position + 1]
        if first < 0x40 and data[position] != 0xFE:  # most of them: a short text
            start = position + 2
            position = start + first
            append(data[start:position])
            continue
        position += 5 if data[position] == 0xFE else 1
        if position >= end:
            raise FaultError("a ziplist entry is cut off", end)
        first = data[position]
        kind = first >> 6
        if kind == 3:
            width = _WIDTHS.get(first, 0)
            start = position + 1
            if width:
                number = int.from_bytes(data[start : start + width], "little", signed=True)
                out.append(b"%d" % number)
            elif 0xF1 <= first <= 0xFD:
                out.append(_IMMEDIATE[first - 0xF1])
            else:
                raise FaultError(f"a ziplist entry has the encoding {first:#x}", position)
            position = start + width
            continue
        if kind == 0:
            start = position + 1
            size = first
        elif kind == 1:
            start = position + 2
            size = (first & 0x3F) << 8 | data[position + 1]
        else:
            start = position + 5
            size = int.from_bytes(data[position + 1 : start], "big")
        position = start + size
        if position <= end:
            out.append(data[start:position])
    if position > end:
        raise FaultError("a ziplist entry is longer than the ziplist", position)
    return position


def read_zipmap(data: bytes, position: int, limit: int, out: list[bytes]) -> int:
    """Read fields and values of a zipmap, in turns.

    Args:
        data: The whole zipmap, its count byte too.
        position: Where the first field is: 1 at the beginning.
        limit: How many items at most, an even number.
        out: The items are appended to it.

    Returns:
        Where the next field is; `len(data) - 1` behind the last.

    Raises:
        FaultError: It is damaged.
    """
    end = len(data) - 1
    if end < 1 or data[end] != _END:
        raise FaultError("a zipmap has no end byte", end)
    is_value = False
    while limit > 0 and (position < end or is_value):
        size = data[position]
        start = position + 1
        if size == 0xFE:
            start = position + 5
            size = int.from_bytes(data[position + 1 : start], "little")
        elif size == _END:
            raise FaultError("a zipmap ends too early", position)
        unused = 0
        if is_value:
            unused = data[start] if start < end else 0
            start += 1
        stop = start + size
        if stop + unused > end:
            raise FaultError("a zipmap entry is longer than the zipmap", position)
        out.append(data[start:stop])
        position = stop + unused
        is_value = not is_value
        limit -= 1
    return position
