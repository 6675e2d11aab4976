"""Commands of the stream in, MONITOR's lines out, as a replica of the master would show them.

Checked against what MONITOR gives at replicas of Redis 6.2, 7.0, 8.2 and Valkey 9.1
(`replicationFeedMonitors`, `sdscatrepr`): SELECT shows the database that it selects, the commands
of a transaction appear when its EXEC has come, and what is for administrators only is not shown.

It does no I/O.
"""

from __future__ import annotations

from typing import Final

from repltap.delivery._hot.commands import DISCARD, EXEC, MULTI, ORDINARY, SELECT
from repltap.delivery._hot.decoder import Entry

SHOWN_BYTES: Final = 256 << 10
"""Of one command, before escaping, which takes at most four times as much. Redis has no limit; a
line is for people, and is held in memory for each of them. What is cut is said, as SLOWLOG does."""

HOLD_BYTES: Final = 8 << 20
"""Lines of an open transaction. One that is larger is shown as it comes."""

_HIDDEN: Final = -1
_MAX_SPELLINGS: Final = 4096
_QUOTES_BYTES: Final = 3  # a space and two quotes around each word

_PLAIN: Final[bytes] = bytes(c for c in range(0x20, 0x7F) if c not in b'"\\')
_NAMED: Final[dict[int, bytes]] = {
    0x5C: b"\\\\",
    0x22: b'\\"',
    0x0A: b"\\n",
    0x0D: b"\\r",
    0x09: b"\\t",
    0x07: b"\\a",
    0x08: b"\\b",
}
_ESCAPED: Final[list[bytes]] = [
    _NAMED.get(c, bytes([c]) if 0x20 <= c < 0x7F else b"\\x%02x" % c) for c in range(256)
]


class MonitorLines:
    """Writes lines, one for each command.

    Args:
        hidden: The upper-case names of what is not shown.
        address: The master's, as it stands in each line.
        db: The database that is selected at the beginning.

    Attributes:
        address: May be changed at any time.
        db: The database that is selected now.
        held_from, held_db: Where the transaction begins whose lines are held, -1 for none, and the
            database that is selected there.
    """

    def __init__(self, hidden: frozenset[bytes], address: bytes, db: int) -> None:
        self.address: bytes = address
        self.db: int = db
        self.held_from: int = -1
        self.held_db: int = db
        self._hidden = hidden
        self._roles: dict[bytes, int] = {}
        self._held: list[bytes] = []
        self._held_bytes: int = 0

    def write(self, entries: list[Entry], time_us: int) -> list[bytes]:
        """Write the lines of commands that follow those before.

        Args:
            entries: The commands.
            time_us: When they came in, Unix microseconds.

        Returns:
            The lines that are to be shown now.
        """
        lines: list[bytes] = []
        stamp = b"+%d.%06d [" % (time_us // 1_000_000, time_us % 1_000_000)
        begin = stamp + b'%d %b] "' % (self.db, self.address)
        for start, _, words in entries:
            name = words[0]
            role = self._roles.get(name, -2)
            if role == -2:
                role = self._learn(name)
            if role == _HIDDEN:
                continue
            if role == SELECT and len(words) == 2 and words[1].isdigit():
                self.db = int(words[1])
                begin = stamp + b'%d %b] "' % (self.db, self.address)
            elif role == MULTI and self.held_from < 0:
                self.held_from = start
                self.held_db = self.db
            line = begin + _quoted(words)
            if self.held_from < 0:
                lines.append(line)
                continue
            self._held.append(line)
            self._held_bytes += len(line)
            if role in (EXEC, DISCARD) or self._held_bytes > HOLD_BYTES:
                lines.extend(self._held)
                self.abandon()
        return lines

    def abandon(self) -> None:
        """Drop an open transaction: it is not going to be executed."""
        self._held = []
        self._held_bytes = 0
        self.held_from = -1

    def _learn(self, name: bytes) -> int:
        if len(self._roles) >= _MAX_SPELLINGS:
            self._roles.clear()
        upper = name.upper()
        role = ORDINARY
        if upper in self._hidden:
            role = _HIDDEN
        elif upper == b"SELECT":
            role = SELECT
        elif upper == b"MULTI":
            role = MULTI
        elif upper == b"EXEC":
            role = EXEC
        elif upper == b"DISCARD":
            role = DISCARD
        self._roles[name] = role
        return role


def _quoted(words: list[bytes]) -> bytes:
    """Write words from behind the first quote on, with the line's end."""
    joined = b"".join(words)
    if len(joined) + _QUOTES_BYTES * len(words) > SHOWN_BYTES:
        return _cut(words)
    if not joined.translate(None, _PLAIN):
        return b'" "'.join(words) + b'"\r\n'
    return b'" "'.join([_escaped(word) for word in words]) + b'"\r\n'


def _escaped(word: bytes) -> bytes:
    if not word.translate(None, _PLAIN):
        return word
    return b"".join([_ESCAPED[c] for c in word])


def _cut(words: list[bytes]) -> bytes:
    """Write what there is room for, and how much more there was."""
    shown: list[bytes] = []
    room = SHOWN_BYTES
    for at, word in enumerate(words):
        room -= _QUOTES_BYTES
        if room <= 0:
            shown.append(b"... (%d more arguments)" % (len(words) - at))
            break
        more = len(word) - room
        if more > 0:
            shown.append(_escaped(word[:room]) + b"... (%d more bytes)" % more)
            room = 0
        else:
            shown.append(_escaped(word))
            room -= len(word)
    return b'" "'.join(shown) + b'"\r\n'
