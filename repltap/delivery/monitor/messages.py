"""What the relay and its monitor process say to each other, over a socket pair.

    relay to process    {"do":"start",...}  first, once; {"do":"mark",...}; {"do":"address",...}
    process to relay    frames: kind, payload's size, history's number, offset (>BIIQ), payload

A LINES frame has whole lines, and its place is where decoding would go on behind them: a process
that crashes is followed by one that begins there. A MARK is sent back when everything that came in
before it has been shown: who asked for it is shown what follows. FAILED says why nothing will.
"""

from __future__ import annotations

import enum
import json
import struct
from collections.abc import Iterator
from typing import NamedTuple

from repltap.delivery.messages import MessageError

_HEADER = struct.Struct(">BIIQ")
_NUMBER = struct.Struct(">Q")

LINES_BYTES = 32 << 10
"""Lines are sent when there are so many, or nothing more just now."""

MAX_FRAME_BYTES = 2 << 20
"""A line has a quarter of a megabyte before escaping, which may make four times as much of it."""


class Kind(enum.IntEnum):
    """What a frame is."""

    LINES = 1
    MARK = 2
    FAILED = 3


class Frame(NamedTuple):
    """Something the process says.

    Attributes:
        kind: What.
        number, offset: The place in the store: the history's number, and the offset there.
        payload: Lines, a reason, or nothing.
    """

    kind: Kind
    number: int
    offset: int
    payload: bytes

    def pack(self) -> bytes:
        """Give its bytes."""
        return _HEADER.pack(self.kind, len(self.payload), self.number, self.offset) + self.payload


def mark_frame(mark: int) -> Frame:
    """Make the answer to a mark."""
    return Frame(Kind.MARK, 0, 0, _NUMBER.pack(mark))


def mark_of(frame: Frame) -> int:
    """Tell which mark it answers.

    Raises:
        MessageError: It does not say.
    """
    if len(frame.payload) != _NUMBER.size:
        raise MessageError("a mark of no number")
    return int(_NUMBER.unpack(frame.payload)[0])


class Frames:
    """Cuts what arrives into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def receive(self, data: bytes | memoryview) -> Iterator[Frame]:
        """Give the frames that are complete now.

        Raises:
            MessageError: It is no frame, or one that is too long.
        """
        rest = self._rest
        rest += data
        at = 0
        try:
            while len(rest) - at >= _HEADER.size:
                kind, size, number, offset = _HEADER.unpack_from(rest, at)
                if size > MAX_FRAME_BYTES or kind not in (Kind.LINES, Kind.MARK, Kind.FAILED):
                    raise MessageError(f"a frame of kind {kind} with {size} bytes")
                end = at + _HEADER.size + size
                if end > len(rest):
                    break
                payload = bytes(rest[at + _HEADER.size : end])
                at = end
                yield Frame(Kind(kind), number, offset, payload)
        finally:
            del rest[:at]


class Place(NamedTuple):
    """A place in the store.

    Attributes:
        number: Of the history.
        offset: In its stream.
    """

    number: int
    offset: int


def order(do: str, **fields: object) -> bytes:
    """Write what the relay tells the process."""
    # Not orjson: a path may be no UTF-8.
    return json.dumps({"do": do, **fields}, separators=(",", ":")).encode() + b"\n"
