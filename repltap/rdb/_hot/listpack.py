"""Listpacks: hashes, sets, sorted sets, list nodes and stream nodes since Redis 7.

4 bytes LE total size, 2 bytes LE count (65535: not known), entries, FF. An entry is an encoding
byte, what it announces, and its own length once more, backwards, in one to five bytes
(`listpack.c`). Hot and pure: bytes in, items out, any number at a time so that no caller has to
hold all of a large one. Integers come out as the decimal text that commands would show.
"""

from __future__ import annotations

from typing import Final

from repltap.rdb.fault import FaultError

HEADER_BYTES: Final = 6
UNKNOWN_COUNT: Final = 65535

_END: Final = 0xFF
SMALL: Final = [b"%d" % number for number in range(128)]


def begin(data: bytes) -> int:
    """Compare the header with the size.

    Returns:
        How many items the header says there are, `UNKNOWN_COUNT` when it does not say.

    Raises:
        FaultError: It is no listpack.
    """
    if len(data) < HEADER_BYTES + 1:
        raise FaultError("a listpack is shorter than its header", 0)
    if int.from_bytes(data[:4], "little") != len(data):
        raise FaultError("a listpack is not as long as it says", 0)
    if data[-1] != _END:
        raise FaultError("a listpack has no end byte", len(data) - 1)
    return data[4] | data[5] << 8


def read(  # noqa: PLR0915 - one loop: a call per entry would double its time
    data: bytes, position: int, limit: int, out: list[bytes]
) -> int:
    """Read items.

    Args:
        data: The whole listpack; `begin` has accepted it.
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
        first = data[position]
        if first < 0x80:
            append(SMALL[first])
            position += 2
            continue
        if first < 0xC0:
            start = position + 1
            stop = start + (first & 0x3F)
            append(data[start:stop])
            position = stop + 1
            continue
        if first < 0xE0:
            number = (first & 0x1F) << 8 | data[position + 1]
            append(b"%d" % (number - 0x2000 if number >= 0x1000 else number))
            position += 3
            continue
        if first < 0xF1:
            if first == 0xF0:
                start = position + 5
                size = int.from_bytes(data[position + 1 : start], "little")
            else:
                start = position + 2
                size = (first & 0x0F) << 8 | data[position + 1]
            stop = start + size
            if stop > end:
                raise FaultError("a listpack entry is longer than the listpack", position)
            append(data[start:stop])
            position = stop + back_bytes(stop - position)
            continue
        width = _WIDTHS.get(first, 0)
        if not width:
            raise FaultError(f"a listpack entry has the encoding {first:#x}", position)
        start = position + 1
        number = int.from_bytes(data[start : start + width], "little", signed=True)
        append(b"%d" % number)
        position = start + width + 1
    if position > end:
        raise FaultError("a listpack entry is longer than the listpack", position)
    return position


_WIDTHS: Final = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}


def back_bytes(size: int) -> int:
    """Return the width of the backward length of an entry of `size` bytes."""
    if size <= 127:
        return 1
    if size < 16383:
        return 2
    if size < 2097151:
        return 3
    return 4 if size < 268435455 else 5
