"""The beginning of an RDB file: its magic and its AUX fields.

Enough to tell what a snapshot is without reading its keys. It reads a bounded prefix and stops at
the first thing that is not an AUX field; what it can't decode there is left out, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from repltap.errors import RemoteProtocolError

MAX_HEADER_BYTES = 64 << 10
"""How much is looked at. The AUX fields of every known server end within a few hundred bytes; up to
6.2 they may include Lua scripts, and whatever is past this is left out."""

MAGIC_BYTES = 9

_MAGIC = re.compile(rb"REDIS\d{4}|VALKEY\d{3}")
_OPCODE_AUX = 0xFA
_INTEGER_BYTES = {0: 1, 1: 2, 2: 4}
_LZF = 3


@dataclass(frozen=True, slots=True)
class RdbHeader:
    """What an RDB says about itself.

    Attributes:
        format: Its magic and version, such as REDIS0011 or VALKEY080.
        aux: The AUX fields at its beginning, decoded for people; numbers in decimal.
    """

    format: str
    aux: dict[str, str]

    @property
    def server_version(self) -> str:
        """The version of the server that wrote it, "" when it does not say."""
        return self.aux.get("valkey-ver") or self.aux.get("redis-ver", "")


class _EndOfHeaderError(Exception):
    """The prefix ends within an AUX field, or holds one that can't be decoded."""


def parse_header(data: bytes | bytearray | memoryview) -> RdbHeader:
    """Read the beginning of an RDB.

    Args:
        data: Its first bytes, at least nine; only the first 64 KiB are looked at.

    Returns:
        Its format, and the AUX fields that `data` holds as a whole.

    Raises:
        RemoteProtocolError: It does not begin as an RDB does.
    """
    prefix = bytes(data[:MAX_HEADER_BYTES])
    if _MAGIC.fullmatch(prefix[:MAGIC_BYTES]) is None:
        raise RemoteProtocolError(
            f"not an RDB file: it begins with {prefix[:MAGIC_BYTES]!r}",
            hint="REDIS and four digits, or VALKEY and three, are expected",
        )
    aux: dict[str, str] = {}
    try:
        for name, value in _fields(prefix):
            aux[name.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
    except _EndOfHeaderError:
        pass
    return RdbHeader(prefix[:MAGIC_BYTES].decode("ascii"), aux)


def _fields(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = MAGIC_BYTES
    while position < len(data) and data[position] == _OPCODE_AUX:
        name, position = _string(data, position + 1)
        value, position = _string(data, position)
        yield name, value


def _string(data: bytes, position: int) -> tuple[bytes, int]:
    """Read a string (rdb.c rdbGenericLoadStringObject) and the position after it."""
    first = _take(data, position, 1)[0]
    if first >> 6 != 3:
        size, position = _length(data, position)
        return _take(data, position, size), position + size
    encoding = first & 0x3F
    position += 1
    if encoding in _INTEGER_BYTES:
        size = _INTEGER_BYTES[encoding]
        number = int.from_bytes(_take(data, position, size), "little", signed=True)
        return str(number).encode(), position + size
    if encoding != _LZF:
        raise _EndOfHeaderError
    packed_size, position = _length(data, position)
    size, position = _length(data, position)
    if size > MAX_HEADER_BYTES:
        raise _EndOfHeaderError
    return _unpack(_take(data, position, packed_size), size), position + packed_size


def _length(data: bytes, position: int) -> tuple[int, int]:
    """Read a length (rdb.c rdbLoadLenByRef) and the position after it."""
    first = _take(data, position, 1)[0]
    if first >> 6 == 0:
        return first, position + 1
    if first >> 6 == 1:
        return (first & 0x3F) << 8 | _take(data, position + 1, 1)[0], position + 2
    if first == 0x80:
        return int.from_bytes(_take(data, position + 1, 4), "big"), position + 5
    if first == 0x81:
        return int.from_bytes(_take(data, position + 1, 8), "big"), position + 9
    raise _EndOfHeaderError


def _unpack(packed: bytes, size: int) -> bytes:
    """Undo LZF: runs of literals, and references back into what came out so far."""
    out = bytearray()
    position = 0
    while position < len(packed) and len(out) <= size:
        control = packed[position]
        position += 1
        if control < 32:
            out += _take(packed, position, control + 1)
            position += control + 1
            continue
        count = control >> 5
        if count == 7:
            count += _take(packed, position, 1)[0]
            position += 1
        distance = ((control & 31) << 8 | _take(packed, position, 1)[0]) + 1
        position += 1
        if distance > len(out):
            raise _EndOfHeaderError
        for _ in range(count + 2):  # may overlap what it produces
            out.append(out[-distance])
    if len(out) != size:
        raise _EndOfHeaderError
    return bytes(out)


def _take(data: bytes, position: int, size: int) -> bytes:
    taken = data[position : position + size]
    if len(taken) != size:
        raise _EndOfHeaderError
    return taken
