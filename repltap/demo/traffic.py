"""What the demo writes: a mix of every data type, expiries, transactions and two databases.

The same seed gives the same commands. Keys come from small ranges, so that the dataset stays at
a few megabytes however long the demo runs.
"""

from __future__ import annotations

import random
from collections.abc import Callable

Command = tuple[bytes | str | int, ...]

USERS = 5_000
INITIAL_KEYS = 20_000


class Traffic:
    """An endless source of write commands."""

    def __init__(self, seed: int = 1) -> None:
        """Start from the beginning.

        Args:
            seed: Chooses the commands.
        """
        self._random = random.Random(seed)
        self._kinds: tuple[Callable[[], list[Command]], ...] = (
            self._string,
            self._counter,
            self._hash,
            self._list,
            self._set,
            self._sorted_set,
            self._stream,
            self._session,
            self._order,
            self._removal,
            self._other_database,
        )

    def initial(self) -> list[Command]:
        """Make the keys that are there before the relay is started."""
        rows: list[Command] = [
            ("SET", f"page:{number}", self._random.randbytes(64).hex())
            for number in range(INITIAL_KEYS)
        ]
        return rows + self.batch(2_000)

    def batch(self, count: int) -> list[Command]:
        """Make at least `count` commands; a transaction is never torn."""
        rows: list[Command] = []
        while len(rows) < count:
            rows += self._random.choice(self._kinds)()
        return rows

    def _user(self) -> int:
        return self._random.randrange(USERS)

    def _string(self) -> list[Command]:
        return [("SET", f"page:{self._random.randrange(INITIAL_KEYS)}", str(self._random.random()))]

    def _counter(self) -> list[Command]:
        return [("INCRBY", f"hits:{self._user()}", self._random.randrange(1, 10))]

    def _hash(self) -> list[Command]:
        key = f"user:{self._user()}"
        return [("HSET", key, "seen", self._random.randrange(10**9), "score", self._user())]

    def _list(self) -> list[Command]:
        key = f"inbox:{self._user()}"
        return [("LPUSH", key, f"message {self._random.randrange(10**6)}"), ("LTRIM", key, 0, 9)]

    def _set(self) -> list[Command]:
        return [("SADD", f"tags:{self._random.randrange(100)}", f"user:{self._user()}")]

    def _sorted_set(self) -> list[Command]:
        return [("ZADD", "ranking", self._random.randrange(10**6), f"user:{self._user()}")]

    def _stream(self) -> list[Command]:
        return [("XADD", "events", "MAXLEN", "~", 1000, "*", "user", self._user(), "kind", "view")]

    def _session(self) -> list[Command]:
        return [("SET", f"session:{self._user()}", "open", "EX", self._random.randrange(600, 3600))]

    def _order(self) -> list[Command]:
        number = self._random.randrange(1000)
        return [
            ("MULTI",),
            ("DECR", f"stock:{number}"),
            ("RPUSH", f"orders:{number}", self._user()),
            ("LTRIM", f"orders:{number}", -20, -1),
            ("EXEC",),
        ]

    def _removal(self) -> list[Command]:
        return [("DEL", f"hits:{self._user()}", f"inbox:{self._user()}")]

    def _other_database(self) -> list[Command]:
        return [("SELECT", 1), ("SET", f"cache:{self._user()}", self._user()), ("SELECT", 0)]
