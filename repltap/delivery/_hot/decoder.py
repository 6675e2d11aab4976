"""Stream bytes in, commands with their exact offsets out.

Nothing else than what a master sends is taken (Redis `processMultibulkBuffer`): arrays of bulk
strings whose numbers are canonical. So encoding a command again gives the very bytes it came in,
which the RESP form relies on. Lengths are never trusted: memory is taken for bytes that came in.

It does no I/O and knows no command.
"""

from __future__ import annotations

from typing import Final

from repltap.errors import RemoteProtocolError

MAX_COMMAND_BYTES: Final = 1 << 30
"""A client of a master can't send more at once (`client-query-buffer-limit`, 1 GB); decoding takes
about twice what the command has."""

MAX_ARGS: Final = 1 << 24
"""An argument of a few bytes takes some 50 in memory: with this many, as much as the bytes may."""

_CRLF: Final = b"\r\n"
_HEADER_BYTES: Final = 24  # a sign, a number of 19 digits, and what stands around it
_QUICK_ARGS: Final = 64
_QUICK_BYTES: Final = 4096

_COUNTS: Final[dict[bytes, int]] = {b"*%d" % count: count for count in range(1, _QUICK_ARGS)}
_SIZES: Final[list[bytes]] = [b"$%d" % size for size in range(_QUICK_BYTES)]

Entry = tuple[int, int, list[bytes]]
"""A command: the offset of its first byte, the offset after its last, its name and arguments."""


class StreamDecoder:
    """Turns chunks of the stream that continue each other into commands.

    Args:
        offset: Where the first chunk begins; a command boundary.
        max_command_bytes: What one command may have on the wire.
        max_args: How many words it may have, its name included; at least 64.

    Attributes:
        window: What the last call decoded from, in one piece.
        window_start: The offset of its first byte. A command that began before it was torn.
        error: What is wrong behind the last command that was given out; the next call raises it.
    """

    def __init__(
        self, offset: int, max_command_bytes: int = MAX_COMMAND_BYTES, max_args: int = MAX_ARGS
    ) -> None:
        self.window: bytes = b""
        self.window_start: int = offset
        self.error: RemoteProtocolError | None = None
        self._max_command_bytes: int = max_command_bytes
        self._max_args: int = max(max_args, _QUICK_ARGS)
        self._parts: list[bytes] = []  # what is not decoded yet
        self._held: int = 0  # bytes in them
        self._needed: int = 0  # how many it takes to get any further
        self._at: int = offset  # the offset of the first of them
        self._words: list[bytes] = []  # of the command that is being decoded
        self._missing: int = 0  # how many it still lacks; 0 between commands
        self._start: int = offset  # where it began

    @property
    def offset(self) -> int:
        """Tell where the first command begins that was not given out yet."""
        return self._start if self._missing else self._at

    def feed(self, data: bytes) -> list[Entry]:
        """Decode a chunk.

        Args:
            data: What comes next in the stream, any number of bytes.

        Returns:
            The commands that it completes. Newlines between commands, and empty arrays, count as
            bytes of the stream and are no commands.

        Raises:
            RemoteProtocolError: The stream holds something else, or a command is past a limit;
                names the offset. What came before it was given out: where that was in the same
                chunk, it is the next call that raises. The decoder is of no further use.
        """
        if self.error is not None:
            raise self.error
        entries: list[Entry] = []
        if self._parts:
            self._parts.append(data)
            self._held += len(data)
            if self._held < self._needed:
                self.window = b""
                self.window_start = self._at
                return entries
            data = b"".join(self._parts)
            self._parts = []
        self.window = data
        self.window_start = self._at
        try:
            position = self._decode(data, entries)
        except RemoteProtocolError as exc:
            self.error = exc
            if not entries:
                raise
            return entries
        base = self._at
        self._at = base + position
        if position < len(data):
            self._parts = [data[position:]]
            self._held = len(data) - position
        return entries

    def _decode(self, data: bytes, entries: list[Entry]) -> int:
        position = 0
        if self._missing:
            position = self._arguments(data, 0, entries)
        if not self._missing and position < len(data):
            position = self._commands(data, position, entries)
        return position

    def _commands(self, data: bytes, position: int, entries: list[Entry]) -> int:
        """Decode what is there from a command boundary on; returns how far it came.

        Cutting the whole chunk into lines is one call, and three times as fast as looking for one
        line end after the other. A line is what its header says it is, or a value has held a line
        end: then that command is decoded the exact way.
        """
        lines = data[position:].split(_CRLF) if position else data.split(_CRLF)
        last = len(lines) - 1
        base = self._at
        limit = self._max_command_bytes
        line = 0
        end = len(data)
        while position < end:
            if line < last:
                count = _COUNTS.get(lines[line], 0)
                stop = line + 1 + 2 * count
                if count == 3 and stop <= last:
                    # Most of a stream: unrolled, it takes two thirds of the time.
                    _, a_size, a, b_size, b, c_size, c = lines[line:stop]
                    if (
                        len(a) < _QUICK_BYTES
                        and len(b) < _QUICK_BYTES
                        and len(c) < _QUICK_BYTES
                        and _SIZES[len(a)] == a_size
                        and _SIZES[len(b)] == b_size
                        and _SIZES[len(c)] == c_size
                    ):
                        size = len(a) + len(b) + len(c) + 16
                        size += len(a_size) + len(b_size) + len(c_size)
                        if size <= limit:
                            start = base + position
                            entries.append((start, start + size, [a, b, c]))
                            position += size
                            line = stop
                            continue
                elif count and stop <= last:
                    words = lines[line + 2 : stop : 2]
                    size = _wire_bytes(lines[line], lines[line + 1 : stop : 2], words)
                    if 0 < size <= limit:
                        start = base + position
                        entries.append((start, start + size, words))
                        position += size
                        line = stop
                        continue
            before = position
            position = self._command(data, position, entries)
            if self._missing or position == before:
                break
            line += data.count(_CRLF, before, position)
        return position

    def _command(self, data: bytes, position: int, entries: list[Entry]) -> int:
        """Decode one command the exact way; returns how far it came."""
        first = data[position]
        if first == 0x0A:
            return position + 1
        if first == 0x0D:
            if position + 1 == len(data):
                self._needed = 2
                return position
            if data[position + 1] == 0x0A:
                return position + 2
        if first != 0x2A:
            raise self._refused(position, "it does not begin with *")
        self._start = self._at + position
        self._words = []
        end = data.find(_CRLF, position, position + _HEADER_BYTES)
        if end < 0:
            self._check_header(data, position)
            self._needed = len(data) - position + 1
            return position
        count = self._number(data, position, end)
        if count > self._max_args:
            raise self._refused(position, f"it has {count} words, more than {self._max_args}")
        if count <= 0:
            return end + 2  # Redis skips *0 and *-1 without a word
        self._missing = count
        return self._arguments(data, end + 2, entries)

    def _arguments(self, data: bytes, position: int, entries: list[Entry]) -> int:
        """Decode the arguments that are whole; returns how far it came."""
        limit = self._start + self._max_command_bytes - self._at
        while self._missing:
            if position < len(data) and data[position] != 0x24:
                raise self._refused(position, "an argument does not begin with $")
            end = data.find(_CRLF, position, position + _HEADER_BYTES)
            if end < 0:
                self._check_header(data, position)
                self._needed = len(data) - position + 1
                return position
            size = self._number(data, position, end)
            stop = end + 2 + size
            if size < 0 or stop + 2 > limit:
                raise self._refused(
                    position, f"{size} bytes make it longer than {self._max_command_bytes}"
                )
            if stop + 2 > len(data):
                self._needed = stop + 2 - position
                return position
            if data[stop : stop + 2] != _CRLF:
                raise self._refused(stop, "no line end behind an argument")
            self._words.append(data[end + 2 : stop])
            position = stop + 2
            self._missing -= 1
        entries.append((self._start, self._at + position, self._words))
        return position

    def _check_header(self, data: bytes, position: int) -> None:
        if len(data) - position >= _HEADER_BYTES:
            raise self._refused(position, "no number where a length belongs")

    def _number(self, data: bytes, position: int, end: int) -> int:
        """Read the number of a header, in the one way of writing it that Redis knows."""
        digits = data[position + 1 : end]
        unsigned = digits[1:] if digits.startswith(b"-") else digits
        if unsigned.isdigit() and (unsigned[0] != 0x30 or digits == b"0"):
            return int(digits)
        raise self._refused(position, "no number where a length belongs")

    def _refused(self, position: int, reason: str) -> RemoteProtocolError:
        offset = self._at + position
        start = self._start if self._missing else offset
        where = "" if start == offset else f", at offset {offset}"
        return RemoteProtocolError(
            f"there is no command at offset {start}: {reason}{where}",
            hint="see it with `repltap journal cat --format raw`",
        )


def _wire_bytes(count: bytes, sizes: list[bytes], words: list[bytes]) -> int:
    """Add up a command's bytes on the wire; 0 when a header is not its argument's."""
    total = len(count) + 2 + 4 * len(words)
    for size, word in zip(sizes, words, strict=True):
        length = len(word)
        if length >= _QUICK_BYTES or _SIZES[length] != size:
            return 0
        total += len(size) + length
    return total
