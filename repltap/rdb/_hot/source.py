"""An RDB's bytes, in order: buffered, with offsets, a running checksum, lengths and strings.

Hot: the loops above it look into `data` themselves and come here for what is not in it. Nothing
that a file says is believed before the bytes are there: a length is a promise of bytes, which come
in pieces of `CHUNK_BYTES`, and an unpacked size has a limit.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import anycrc

from repltap.errors import CorruptRdbError, UnsupportedRdbError
from repltap.rdb._hot.lzf import unpack, unpack_in_parts
from repltap.rdb.fault import FaultError

CHUNK_BYTES: Final = 1 << 18
"""How much is read at a time: large enough that the work per chunk vanishes, small enough to stay
in a processor's cache."""

MAX_STRING_BYTES: Final = 512 << 20
"""The longest string that is held as a whole: Redis's own default limit (`proto-max-bulk-len`)."""

_DOUBLE: Final = struct.Struct("<d")

_crc64 = anycrc.Model("CRC64-REDIS")


class Limits(NamedTuple):
    """What bounds the memory of a reader.

    Attributes:
        string_bytes: The longest string that is accepted as a whole. A string value may be longer
            where it is not compressed: it comes in parts.
        part_items, part_bytes: A value comes in parts of so many elements, or of so many bytes and
            one element.
        payload_bytes: The longest value that is given out in its serialized form.
    """

    string_bytes: int = MAX_STRING_BYTES
    part_items: int = 4096
    part_bytes: int = 1 << 20
    payload_bytes: int = MAX_STRING_BYTES


class Source:
    """Where the bytes come from.

    Args:
        read: Gives up to so many bytes, b"" at the end.
        limits: What is accepted.

    Attributes:
        data, position, end: What is buffered, where the next byte is in it, and its length. Loops
            may read ahead in `data` and set `position`, never past `end`.
    """

    def __init__(self, read: Callable[[int], bytes], limits: Limits) -> None:
        self.data = b""
        self.position = 0
        self.end = 0
        self.limits = limits
        self._read = read
        self._base = 0  # the offset of data[0]
        self._crc = 0  # of everything before data[0]
        self._record_from = -1  # where in `data` the recording goes on, -1 for none
        self._recorded: list[bytes] = []
        self._recorded_bytes = 0
        self._record_limit = 0
        self._record_strictly = True

    @property
    def offset(self) -> int:
        """Return the offset of the next byte."""
        return self._base + self.position

    @property
    def checksum(self) -> int:
        """Return the CRC-64 of everything before `offset`."""
        crc: int = _crc64.calc(self.data[: self.position], self._crc)
        return crc

    def corrupt(self, message: str, offset: int | None = None) -> CorruptRdbError:
        """Make the error for damage."""
        return CorruptRdbError(message, offset=self.offset if offset is None else offset)

    def fill(self, size: int) -> bool:
        """Try to have `size` bytes buffered; false when the file ends before."""
        have = self.end - self.position
        if have >= size:
            return True
        pieces = [self.data[self.position :]]
        self._leave()
        while have < size:
            piece = self._read(CHUNK_BYTES)
            if not piece:
                break
            pieces.append(piece)
            have += len(piece)
        self.data = b"".join(pieces)
        self.position = 0
        self.end = have
        return have >= size

    def need(self, size: int) -> None:
        """Have `size` bytes buffered; a few of them.

        Raises:
            CorruptRdbError: The file ends before.
        """
        if not self.fill(size):
            raise self.corrupt("the file is cut off here", self._base + self.end)

    def byte(self) -> int:
        """Take a byte."""
        if self.position >= self.end:
            self.need(1)
        value = self.data[self.position]
        self.position += 1
        return value

    def take(self, size: int) -> bytes:
        """Take `size` bytes, however many.

        Raises:
            CorruptRdbError: The file ends before.
        """
        stop = self.position + size
        if stop <= self.end:
            taken = self.data[self.position : stop]
            self.position = stop
            return taken
        if size <= CHUNK_BYTES:
            self.need(size)
            self.position = size
            return self.data[:size]
        pieces = []
        while size > CHUNK_BYTES:
            self.need(CHUNK_BYTES)
            piece = self.data[self.position : self.position + size]
            self.position += len(piece)
            size -= len(piece)
            pieces.append(piece)
        pieces.append(self.take(size))
        return b"".join(pieces)

    def skip(self, size: int) -> None:
        """Pass over `size` bytes without holding them."""
        while size > 0:
            if self.position >= self.end:
                self.need(1)
            step = min(size, self.end - self.position)
            self.position += step
            size -= step

    def unsigned(self, size: int) -> int:
        """Take a little-endian integer of `size` bytes."""
        return int.from_bytes(self.take(size), "little")

    def signed(self, size: int) -> int:
        """Take a signed little-endian integer of `size` bytes."""
        return int.from_bytes(self.take(size), "little", signed=True)

    def length(self) -> int:
        """Take a length (rdb.c `rdbLoadLenByRef`).

        Raises:
            CorruptRdbError: A special string is here, or an encoding that nobody writes.
        """
        position = self.position
        if position < self.end:
            first = self.data[position]
            self.position = position + 1
        else:
            first = self.byte()
        if first < 0x40:
            return first
        if first < 0x80:
            return (first & 0x3F) << 8 | self.byte()
        if first == 0x80:
            return int.from_bytes(self.take(4), "big")
        if first == 0x81:
            return int.from_bytes(self.take(8), "big")
        raise self.corrupt(f"{first:#x} begins no length", self.offset - 1)

    def string(self) -> bytes:
        """Take a string (rdb.c `rdbGenericLoadStringObject`); integers come out as decimal text.

        Raises:
            CorruptRdbError: It is cut off, or damaged.
            UnsupportedRdbError: It is longer than the limit.
        """
        position, end = self.position, self.end
        if position + 2 <= end:  # most of them: short, and there
            data = self.data
            first = data[position]
            start = stop = 0
            if first < 0x40:
                start = position + 1
                stop = start + first
            elif first < 0x80:
                start = position + 2
                stop = start + ((first & 0x3F) << 8 | data[position + 1])
            if 0 < stop <= end:
                self.position = stop
                return data[start:stop]
        return self._other_string()

    def _other_string(self) -> bytes:
        if self.position >= self.end:
            self.need(1)
        first = self.data[self.position]
        if first < 0xC0:
            size = self.length()
            self._check_size(size)
            return self.take(size)
        start = self.offset
        self.position += 1
        if first < 0xC3:
            return b"%d" % self.signed(1 << (first & 3))
        if first != 0xC3:
            raise self.corrupt(f"{first:#x} begins no string", start)
        packed_size = self.length()
        size = self.length()
        self._check_size(packed_size)
        self._check_size(size)
        return self._unpack(packed_size, size, start)

    def string_or_parts(self) -> tuple[int, bytes | Iterator[bytes]]:
        """Take a string of any size.

        Returns:
            How long it is; and it, or its parts where it is longer than `part_bytes`.

        Raises:
            CorruptRdbError: It is damaged; from the parts also later.
        """
        if self.position >= self.end:
            self.need(1)
        start = self.offset
        first = self.data[self.position]
        if 0xC0 <= first != 0xC3:
            value = self.string()
            return len(value), value
        packed_size = 0
        if first == 0xC3:
            self.position += 1
            packed_size = self.length()
        size = self.length()
        if first < 0xC0:
            if size <= self.limits.part_bytes:
                return size, self.take(size)
            return size, self._plain_parts(size)
        if size <= self.limits.part_bytes:
            self._check_size(packed_size)
            return size, self._unpack(packed_size, size, start)
        return size, self._packed_parts(packed_size, size, start)

    def _plain_parts(self, size: int) -> Iterator[bytes]:
        part_bytes = max(1, self.limits.part_bytes)
        while size > part_bytes:
            yield self.take(part_bytes)
            size -= part_bytes
        yield self.take(size)

    def _packed_parts(self, packed_size: int, size: int, start: int) -> Iterator[bytes]:
        part_bytes = max(1, self.limits.part_bytes)
        try:
            yield from unpack_in_parts(self.take, packed_size, size, part_bytes)
        except FaultError as exc:
            raise self._packed_fault(exc, start) from exc

    def _unpack(self, packed_size: int, size: int, start: int) -> bytes:
        try:
            return unpack(self.take(packed_size), size)
        except FaultError as exc:
            raise self._packed_fault(exc, start) from exc

    def _packed_fault(self, exc: FaultError, start: int) -> CorruptRdbError:
        return self.corrupt(f"a compressed string: {exc.message}", start)

    def skip_string(self) -> None:
        """Pass over a string without holding it."""
        if self.position >= self.end:
            self.need(1)
        first = self.data[self.position]
        if first < 0xC0:
            self.skip(self.length())
        elif first < 0xC3:
            self.skip(1 + (1 << (first & 3)))
        elif first == 0xC3:
            self.position += 1
            packed_size = self.length()
            self.length()
            self.skip(packed_size)
        else:
            raise self.corrupt(f"{first:#x} begins no string")

    def skip_strings(self, count: int) -> None:
        """Pass over strings without holding them."""
        data, position, end = self.data, self.position, self.end
        while count > 0:
            count -= 1
            if position + 2 <= end:
                first = data[position]
                stop = end + 1
                if first < 0x40:
                    stop = position + 1 + first
                elif first < 0x80:
                    stop = position + 2 + ((first & 0x3F) << 8 | data[position + 1])
                if stop <= end:
                    position = stop
                    continue
            self.position = position
            self.skip_string()
            data, position, end = self.data, self.position, self.end
        self.position = position

    def strings(self, limit: int, budget_bytes: int, out: list[bytes]) -> int:
        """Take strings until there are `limit` or they have more than `budget_bytes`.

        Returns:
            How many were appended to `out`; at least one if `limit` is.
        """
        data, position, end = self.data, self.position, self.end
        append = out.append
        count = 0
        while count < limit and budget_bytes >= 0:
            count += 1
            if position + 2 <= end:
                first = data[position]
                if first < 0x40:
                    start = position + 1
                    stop = start + first
                elif first < 0x80:
                    start = position + 2
                    stop = start + ((first & 0x3F) << 8 | data[position + 1])
                else:
                    start, stop = 0, end + 1
                if stop <= end:
                    append(data[start:stop])
                    position = stop
                    budget_bytes -= stop - start
                    continue
            self.position = position
            item = self.string()
            append(item)
            budget_bytes -= len(item)
            data, position, end = self.data, self.position, self.end
        self.position = position
        return count

    def scored(self, limit: int, budget_bytes: int, out: list[tuple[bytes, float]]) -> int:
        """Take strings that are followed by a score of 8 bytes; otherwise as `strings`."""
        data, position, end = self.data, self.position, self.end
        append, number = out.append, _DOUBLE.unpack_from
        count = 0
        while count < limit and budget_bytes >= 0:
            count += 1
            if position < end and (size := data[position]) < 0x40:
                behind = position + 1 + size
                if behind + 8 <= end:
                    append((data[position + 1 : behind], number(data, behind)[0]))
                    position = behind + 8
                    budget_bytes -= size
                    continue
            self.position = position
            item = self.string()
            append((item, number(self.take(8))[0]))
            budget_bytes -= len(item)
            data, position, end = self.data, self.position, self.end
        self.position = position
        return count

    def start_recording(self, limit_bytes: int | None = None) -> None:
        """Keep what is taken from here on, as it is in the file.

        Args:
            limit_bytes: More than this is let go; not given, more than `Limits.payload_bytes` is
                an error.
        """
        self._record_from = self.position
        self._recorded = []
        self._recorded_bytes = 0
        self._record_limit = self.limits.payload_bytes if limit_bytes is None else limit_bytes
        self._record_strictly = limit_bytes is None

    def stop_recording(self) -> bytes | None:
        """Return what was taken since `start_recording`, None where it was let go.

        Raises:
            UnsupportedRdbError: It is more than the limit.
        """
        if self._record_from >= 0:
            self._keep()
        if self._record_from < 0:
            return None
        self._record_from = -1
        recorded, self._recorded = self._recorded, []
        return b"".join(recorded)

    def _keep(self) -> None:
        piece = self.data[self._record_from : self.position]
        self._recorded_bytes += len(piece)
        if self._recorded_bytes > self._record_limit:
            self._record_from = -1
            self._recorded = []
            if not self._record_strictly:
                return
            raise UnsupportedRdbError(
                f"the value is larger than {self._record_limit} bytes in its serialized form",
                offset=self.offset,
                hint="write it as commands instead",
            )
        self._recorded.append(piece)

    def _leave(self) -> None:
        """Account for what is dropped from the buffer."""
        if self._record_from >= 0:
            self._keep()
        if self._record_from >= 0:
            self._record_from = 0
        self._crc = _crc64.calc(self.data[: self.position], self._crc)
        self._base += self.position
        # So that an error on the way finds a state that is right.
        self.data = self.data[self.position :]
        self.end -= self.position
        self.position = 0

    def _check_size(self, size: int) -> None:
        if size > self.limits.string_bytes:
            raise UnsupportedRdbError(
                f"a string of {size} bytes is longer than the limit of {self.limits.string_bytes}",
                offset=self.offset,
                hint="the file is damaged, or the limit must be raised",
            )
