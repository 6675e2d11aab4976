"""Intsets, sets of integers: 4 bytes LE width (2, 4, 8), 4 bytes LE count, integers (`intset.c`).

Hot and pure; members come out as decimal text.
"""

from __future__ import annotations

import struct
from typing import Final

from repltap.rdb.fault import FaultError

HEADER_BYTES: Final = 8
_FORMATS: Final = {2: "h", 4: "i", 8: "q"}


def begin(data: bytes) -> int:
    """Compare the header with the size, and return the number of members.

    Raises:
        FaultError: It is no intset.
    """
    if len(data) < HEADER_BYTES:
        raise FaultError("an intset is shorter than its header", 0)
    width = int.from_bytes(data[:4], "little")
    count = int.from_bytes(data[4:8], "little")
    if width not in _FORMATS:
        raise FaultError(f"an intset has integers of {width} bytes", 0)
    if HEADER_BYTES + width * count != len(data):
        raise FaultError("an intset is not as long as it says", 4)
    return count


def read(data: bytes, position: int, limit: int, out: list[bytes]) -> int:
    """Read members from `position` on, at most `limit`; return where the next one is."""
    width = data[0]
    count = min(limit, (len(data) - position) // width)
    stop = position + count * width
    numbers = struct.unpack(f"<{count}{_FORMATS[width]}", data[position:stop])
    out += [b"%d" % number for number in numbers]
    return stop
