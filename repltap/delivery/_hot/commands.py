"""What is known of a command: what it is to the stream, and which of its words are keys.

Key specifications are those of `COMMAND` (Redis 7.0 and later, `getKeysUsingKeySpecs`): where to
begin, at an index or behind a keyword, and what to take from there, a range or a count.
"""

from __future__ import annotations

from typing import Final

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
        self._specs: Final = specs
        self._is_sort: Final = name == "SORT"
        if len(specs) == 1 and not self._is_sort and not specs[0].keyword:
            spec = specs[0]
            if spec.count_at < 0 and spec.last == 0:
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
        if self._is_sort:
            found.update(_sort_store(words))
        # MIGRATE has an empty word for its key where KEYS has them.
        if len(found) > 1 and self.name == "MIGRATE" and not words[3]:
            found.discard(3)
        return tuple(sorted(found))


def _sort_store(words: list[bytes]) -> list[int]:
    """Find SORT's destination, of which COMMAND says "unknown" (Redis `sortGetKeys`).

    The last STORE counts; the words of LIMIT, GET and BY are none, whatever they look like.
    """
    found: list[int] = []
    at = 2
    while at < len(words):
        word = words[at].upper()
        if word == b"LIMIT":
            at += 2
        elif word in (b"GET", b"BY"):
            at += 1
        elif word == b"STORE" and at + 1 < len(words):
            found = [at + 1]
            at += 1
        at += 1
    return found
