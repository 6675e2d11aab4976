"""What is known of a command: what it is to the stream, and which of its words are keys.

Key specifications are those of `COMMAND` (Redis 7.0 and later, `getKeysUsingKeySpecs`): where to
begin, at an index or behind a keyword, and what to take from there, a range or a count.
"""

from __future__ import annotations

from typing import Final

MAX_ONLY_KEY: Final = 8
"""A single key is looked up quickly where it stands before this."""

ORDINARY: Final = 0
SELECT: Final = 1
MULTI: Final = 2
EXEC: Final = 3
DISCARD: Final = 4
LINK: Final = 5
"""What a command is to the stream. LINK is what the master tells its replicas: PING, GETACK."""

_ROLES: Final[dict[str, int]] = {
    "SELECT": SELECT,
    "MULTI": MULTI,
    "EXEC": EXEC,
    "DISCARD": DISCARD,
    "PING": LINK,
    "REPLCONF": LINK,
}


_STORES: Final[dict[str, tuple[int, tuple[bytes, ...]]]] = {
    "SORT": (2, (b"STORE",)),
    "GEORADIUS": (6, (b"STORE", b"STOREDIST")),
    "GEORADIUSBYMEMBER": (5, (b"STORE", b"STOREDIST")),
}
"""Commands with an option for a destination: where their options begin, and what it is called.

Of SORT the key specifications say "unknown", of the others they find the first one, where the last
one counts."""

_SKIPPED: Final[dict[bytes, int]] = {b"LIMIT": 2, b"GET": 1, b"BY": 1, b"COUNT": 1}
"""Their other options that have words, which are no options, whatever they look like."""


class KeySpec:
    """One key specification.

    Args:
        keyword: The word that keys follow, in upper case; empty where they begin at an index.
        start: That index; or where the search for the keyword begins, from the end if negative.
        count_at: Where the number of keys stands, seen from the beginning; -1 for a range.
        first: With a number of keys: where the first of them is, seen from the beginning.
        last: Of a range: its last key, seen from the beginning, or from the command's end if
            negative.
        step: From one key to the next.
        limit: Of a range to the end: only the first of so many equal parts has keys; 0 for all.
    """

    def __init__(
        self,
        keyword: bytes,
        start: int,
        count_at: int,
        first: int,
        last: int,
        step: int,
        limit: int,
    ) -> None:
        self.keyword: Final = keyword
        self.start: Final = start
        self.count_at: Final = count_at
        self.first: Final = first
        self.last: Final = last
        self.step: Final = max(step, 1)
        self.limit: Final = limit

    def positions(self, words: list[bytes]) -> list[int]:
        """Give the positions of the keys among the words, none where the command is malformed."""
        begin = self._begin(words)
        if begin <= 0:
            return []
        total = len(words)
        if self.count_at >= 0:
            at = begin + self.count_at
            if at >= total or not words[at].isdigit():
                return []
            first = begin + self.first
            last = first + (int(words[at]) - 1) * self.step
        else:
            first = begin
            if self.last >= 0:
                last = first + self.last
            elif self.limit > 1:
                last = first + (total - first) // self.limit + self.last
            else:
                last = total + self.last
        if last >= total or last < first:
            return []
        return list(range(first, last + 1, self.step))

    def _begin(self, words: list[bytes]) -> int:
        if not self.keyword:
            return self.start
        at, step = self.start, 1
        if at < 0:
            at, step = len(words) + at, -1
        while 0 < at < len(words):
            if words[at].upper() == self.keyword:
                return at + 1
            at += step
        return 0


class CommandInfo:
    """What is known of a command.

    Args:
        name: In upper case.
        specs: Its key specifications; none for an unknown command.
    """

    def __init__(self, name: str, specs: list[KeySpec]) -> None:
        self.name: Final = name
        self.role: Final = _ROLES.get(name, ORDINARY)
        self.only_key: int = -1  # its position where there is exactly one, always the same
        self._stores: Final = name in _STORES
        self._specs: list[KeySpec] = specs
        if self._stores:
            self._specs = [spec for spec in specs if not spec.keyword]
        elif len(specs) == 1 and not specs[0].keyword:
            spec = specs[0]
            if spec.count_at < 0 and spec.last == 0 and spec.start < MAX_ONLY_KEY:
                self.only_key = spec.start

    def key_positions(self, words: list[bytes]) -> tuple[int, ...]:
        """Tell which words are keys, in order, each once.

        Args:
            words: The command, its name first.
        """
        if not self._specs:
            return ()
        found: set[int] = set()
        for spec in self._specs:
            found.update(spec.positions(words))
        if self._stores:
            found.update(_destination(self.name, words))
        # MIGRATE has an empty word for its key where KEYS has them.
        if len(found) > 1 and self.name == "MIGRATE" and not words[3]:
            found.discard(3)
        return tuple(sorted(found))


def _destination(name: str, words: list[bytes]) -> list[int]:
    """Find the destination, as the command itself does (Redis `sortCommand`, `georadiusGeneric`).

    The last one counts.
    """
    found: list[int] = []
    at, options = _STORES[name]
    while at < len(words):
        word = words[at].upper()
        if word in options and at + 1 < len(words):
            found = [at + 1]
            at += 1
        at += 1 + _SKIPPED.get(word, 0)
    return found
