"""Commands on the wire: encoding them, and parsing a client's, incrementally and within bounds.

`RespParser` turns what a client sends into commands with their exact byte counts; it never holds
more than one command's limit plus one read, and never guesses: what Redis calls a protocol error
raises with Redis's text (`processInlineBuffer`, `processMultibulkBuffer`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from repltap.errors import RemoteProtocolError

_NUMBER = re.compile(rb"-?[1-9][0-9]{0,18}|0")
_COMPACT_BYTES = 16 * 1024
"""Parsed bytes are cut off the buffer's front in steps of this size: a memmove for each command
would make a pipelined read quadratic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputLimits:
    """How much a peer may make us hold.

    No value is ever sent to a relay, so its commands are short: the longest are a PUBLISH and a
    CLIENT KILL with many filters. A command is bounded as a whole, in bytes on the wire: that is
    what a thousand clients can make us hold a thousand times. 64 KiB is Redis's limit of an inline
    command, and the two for peers that have not authenticated are Redis's too
    (`processInlineBuffer`, `processMultibulkBuffer`).
    """

    command_bytes: int = 64 * 1024
    args: int = 1024
    unauthenticated_command_bytes: int = 16 * 1024
    unauthenticated_args: int = 10


@dataclass(frozen=True, slots=True)
class Command:
    """One parsed command. `args` is empty for an empty line (`inline`) and for `*0`."""

    args: list[bytes]
    length: int
    inline: bool


def encode_command(*args: bytes) -> bytes:
    """Encode a command as a RESP array of bulk strings."""
    parts = [b"*%d\r\n" % len(args)]
    parts += [b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in args]
    return b"".join(parts)


def command_length(*args: bytes) -> int:
    """Give the stream bytes that a command takes, without encoding it."""
    return _header_length(len(args)) + sum(_header_length(len(a)) + len(a) + 2 for a in args)


def _header_length(count: int) -> int:
    return 3 + len(str(count))


def _violation(text: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"ERR Protocol error: {text}")


class RespParser:
    """Incremental parser of a client's commands, RESP arrays and inline.

    Args:
        limits: What the peer may send.
    """

    def __init__(self, limits: InputLimits) -> None:
        self.limits = limits
        self.authenticated = True  # False applies the two narrower limits
        self.consumed = 0  # bytes of all commands returned so far, to the byte
        self._buffer = bytearray()
        self._position = 0  # everything before it is parsed
        self._scanned = 0  # no line end before it, so that a dribbled line costs linear time
        self._args: list[bytes] = []  # of the command that is being read
        self._missing = 0  # arguments it still needs; 0 between commands
        self._bulk = -1  # length of the argument being read, -1 before its header
        self._started = 0  # where the command being read began; negative once that is cut off

    @property
    def buffered_bytes(self) -> int:
        """Bytes received that are not part of a returned command."""
        return len(self._buffer) - (self._started if self._missing else self._position)

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take what was read from the peer; nothing is parsed yet."""
        self._buffer += data

    def next_command(self) -> Command | None:
        """Parse one command.

        Returns:
            The command, or None when more bytes are needed.

        Raises:
            RemoteProtocolError: The bytes are not a command, or go past a limit. The message is
                the error reply to send; the parser is of no further use.
        """
        if not self._missing:
            if self._position == len(self._buffer):
                self._compact(force=True)
                return None
            self._started = self._position
            if self._buffer[self._position] != 0x2A:  # '*'
                return self._next_inline()
            if not self._begin_array():
                return None
            if not self._missing:
                return self._finish([], inline=False)
        while self._missing:
            if not self._next_argument():
                return None
        args, self._args = self._args, []
        return self._finish(args, inline=False)

    def _finish(self, args: list[bytes], *, inline: bool) -> Command:
        length = self._position - self._started
        self.consumed += length
        self._compact(force=False)
        return Command(args, length, inline)

    def _compact(self, *, force: bool) -> None:
        if self._position >= _COMPACT_BYTES or (force and self._position):
            del self._buffer[: self._position]
            self._started -= self._position
            self._position = self._scanned = 0

    @property
    def _limit(self) -> int:
        limits = self.limits
        return limits.command_bytes if self.authenticated else limits.unauthenticated_command_bytes

    def _line(self, end: bytes, too_long: str) -> bytes | None:
        """Take one line without its end, or None when it is not whole yet."""
        start = max(self._position, self._scanned)
        at = self._buffer.find(end, start)
        if (len(self._buffer) if at < 0 else at) - self._started > self._limit:
            raise _violation("too big command" if self._args else too_long)
        if at < 0:
            self._scanned = max(self._position, len(self._buffer) - len(end) + 1)
            return None
        line = bytes(self._buffer[self._position : at])
        self._position = at + len(end)
        return line

    def _next_inline(self) -> Command | None:
        line = self._line(b"\n", "too big inline request")
        if line is None:
            return None
        return self._finish(split_inline(line.removesuffix(b"\r")), inline=True)

    def _begin_array(self) -> bool:
        line = self._line(b"\r\n", "too big mbulk count string")
        if line is None:
            return False
        count = _number(line[1:])
        if count is None or count > self.limits.args:
            raise _violation("invalid multibulk length")
        if not self.authenticated and count > self.limits.unauthenticated_args:
            raise _violation("unauthenticated multibulk length")
        self._missing = max(0, count)  # Redis skips *0 and *-1 without a word
        return True

    def _next_argument(self) -> bool:
        if self._bulk < 0 and not self._begin_bulk():
            return False
        end = self._position + self._bulk
        if len(self._buffer) < end + 2:
            return False
        if self._buffer[end : end + 2] != b"\r\n":
            raise _violation("expected CRLF after a bulk string")
        self._args.append(bytes(self._buffer[self._position : end]))
        self._position = end + 2
        self._missing -= 1
        self._bulk = -1
        self._compact(force=False)  # what became an argument is not held twice
        return True

    def _begin_bulk(self) -> bool:
        if self._position < len(self._buffer) and self._buffer[self._position] != 0x24:  # '$'
            got = chr(self._buffer[self._position])
            raise _violation(f"expected '$', got {got!r}")
        line = self._line(b"\r\n", "too big bulk count string")
        if line is None:
            return False
        size = _number(line[1:])
        if size is None or not 0 <= size <= self.limits.command_bytes:
            raise _violation("invalid bulk length")
        if not self.authenticated and size > self._limit:
            raise _violation("unauthenticated bulk length")
        if self._position - self._started + size + 2 > self._limit:
            raise _violation("too big command")
        self._bulk = size
        return True


def _number(raw: bytes) -> int | None:
    return int(raw) if _NUMBER.fullmatch(raw) is not None else None


_ESCAPES = {0x6E: 0x0A, 0x72: 0x0D, 0x74: 0x09, 0x62: 0x08, 0x61: 0x07}
_SPACE = b" \t\r\n\v\f\0"
_INLINE = re.compile(
    rb"""[ \t\r\n\v\f\0]*("(?:[^"\\]|\\.)*"(?![^ \t\r\n\v\f\0])"""
    rb"""|'(?:[^'\\]|\\.)*'(?![^ \t\r\n\v\f\0])|[^ \t\r\n\v\f\0"']+)""",
    re.DOTALL,
)


def split_inline(line: bytes) -> list[bytes]:
    """Split an inline command as a shell would (Redis `sdssplitargs`), quotes included.

    Args:
        line: The line without its end.

    Returns:
        The arguments, none for an empty line.

    Raises:
        RemoteProtocolError: A quote is not closed, or is closed inside a word.
    """
    args: list[bytes] = []
    position = 0
    end = len(line.rstrip(_SPACE))
    while position < end:
        match = _INLINE.match(line, position, end)
        if match is None:
            raise _violation("unbalanced quotes in request")
        word = match[1]
        if word[0] == 0x22:
            word = re.sub(rb"\\(x[0-9a-fA-F]{2}|.)", _unescape, word[1:-1], flags=re.DOTALL)
        elif word[0] == 0x27:
            word = word[1:-1].replace(b"\\'", b"'")
        args.append(word)
        position = match.end()
    return args


def _unescape(match: re.Match[bytes]) -> bytes:
    code = match[1]
    if len(code) == 3:
        return bytes((int(code[1:], 16),))
    return bytes((_ESCAPES.get(code[0], code[0]),))
