"""LZF, as Redis packs strings: runs of literals, and references back into what came out so far.

A control byte below 32 is followed by that many literals and one more. Any other holds a length in
its upper three bits (7: the next byte adds to it) and, with the byte that follows, a distance:
`lzf_d.c`. Hot and pure: bytes in, bytes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from repltap.rdb.fault import FaultError

MAX_RATIO: Final = 88
"""Three bytes give at most 264: what claims to unpack to more is damaged, whatever it holds."""


_REACH: Final = 8192
"""How far back a reference goes at most: 13 bits."""

_LONGEST: Final = 33
"""Packed bytes of the longest element, 32 literals behind their control byte."""

_PIECE_BYTES: Final = 1 << 14
"""Packed bytes that are unpacked at a time: at most 1.4 MB come of them."""


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
    position = _run(packed, len(packed), out, size)
    if len(out) != size:
        raise FaultError(f"unpacks to {len(out)} bytes instead of {size}", position)
    return bytes(out)


def unpack_in_parts(
    take: Callable[[int], bytes], packed_size: int, size: int, part_bytes: int
) -> Iterator[bytes]:
    """Undo LZF of what is too large to be held.

    Args:
        take: Gives the packed bytes, exactly as many as it is asked for.
        packed_size: How many there are.
        size: How long the result must be.
        part_bytes: How long its parts are to be, but for the last; more than none.

    Yields:
        Parts of `size` bytes, at least one.

    Raises:
        FaultError: They are not the packed form of so many bytes.
    """
    if size > packed_size * MAX_RATIO:
        raise FaultError(f"{packed_size} packed bytes can't hold {size}", 0)
    packed = b""
    out = bytearray()
    given = 0  # bytes that were yielded
    held = 0  # of them still in `out`: references may go back to them
    left = packed_size
    while left:
        piece = take(min(left, _PIECE_BYTES))
        left -= len(piece)
        packed += piece
        # An element that is cut off waits for its rest.
        stop = len(packed) - _LONGEST if left else len(packed)
        packed = packed[_run(packed, stop, out, size - given + held) :]
        while len(out) - held > part_bytes:
            yield bytes(out[held : held + part_bytes])
            given += part_bytes
            surplus = held + part_bytes - _REACH
            if surplus > 0:
                del out[:surplus]
            held = min(held + part_bytes, _REACH)
    if given + len(out) - held != size:
        raise FaultError(f"unpacks to {given + len(out) - held} bytes instead of {size}", 0)
    yield bytes(out[held:])


def _run(packed: bytes, stop: int, out: bytearray, size: int) -> int:
    """Unpack the elements that begin before `stop`, until `out` has more than `size` bytes.

    Returns:
        Where the next one begins.
    """
    position = 0
    end = len(packed)
    while position < stop:
        control = packed[position]
        position += 1
        if control < 32:
            behind = position + control + 1
            if behind > end:
                raise FaultError("packed data ends in a literal", position)
            out += packed[position:behind]
            position = behind
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
    return position
