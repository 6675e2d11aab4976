"""LZF, as Redis packs strings: runs of literals, and references back into what came out so far.

A control byte below 32 is followed by that many literals and one more. Any other holds a length in
its upper three bits (7: the next byte adds to it) and, with the byte that follows, a distance:
`lzf_d.c`. Hot and pure: bytes in, bytes out.
"""

from __future__ import annotations

from typing import Final

from repltap.rdb.fault import FaultError

MAX_RATIO: Final = 88
"""Three bytes give at most 264: what claims to unpack to more is damaged, whatever it holds."""


def unpack(packed: bytes, size: int) -> bytes:
    """Undo LZF.

    Args:
        packed: The packed bytes.
        size: How long the result must be. The caller has bounded it.

    Returns:
        `size` bytes.

    Raises:
        FaultError: They are not the packed form of so many bytes. No more memory than `size` and
            one reference was used.
    """
    if size > len(packed) * MAX_RATIO:
        raise FaultError(f"{len(packed)} packed bytes can't hold {size}", 0)
    out = bytearray()
    position = 0
    end = len(packed)
    while position < end:
        control = packed[position]
        position += 1
        if control < 32:
            stop = position + control + 1
            if stop > end:
                raise FaultError("packed data ends in a literal", position)
            out += packed[position:stop]
            position = stop
        else:
            count = (control >> 5) + 2
            if count == 9:
                if position >= end:
                    raise FaultError("packed data ends in a length", position)
                count += packed[position]
                position += 1
            if position >= end:
                raise FaultError("packed data ends in a reference", position)
            have = len(out)
            if have > size:  # what literals add can't be more than there is
                raise FaultError(f"unpacks to more than {size} bytes", position)
            start = have - ((control & 31) << 8 | packed[position]) - 1
            position += 1
            if start < 0:
                raise FaultError("packed data refers to before its beginning", position)
            if start + count <= have:
                out += out[start : start + count]
            else:  # overlaps what it produces: a pattern, repeated
                pattern = out[start:have]
                whole, rest = divmod(count, have - start)
                out += pattern * whole + pattern[:rest]
    if len(out) != size:
        raise FaultError(f"unpacks to {len(out)} bytes instead of {size}", position)
    return bytes(out)
