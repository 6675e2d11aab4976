"""What the server knows that commands are written for."""

from __future__ import annotations

import re
from dataclasses import dataclass

_RDB_VERSIONS = {
    "redis": {(3, 2): 7, (4, 0): 8, (5, 0): 9, (7, 0): 10, (7, 2): 11, (7, 4): 12, (8, 6): 13},
    "valkey": {(7, 2): 11, (9, 0): 80},
}
"""Since which version of a server it reads an RDB version (rdb.h `RDB_VERSION`)."""

_COMMON_UNTIL = 11  # Redis and Valkey number what is above each for itself

_SPEC = re.compile(r"(redis|valkey)-(\d+)(?:\.(\d+))?(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Target:
    """A server.

    Attributes:
        vendor: `redis` or `valkey`.
        version: Major and minor.
    """

    vendor: str
    version: tuple[int, int]

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read `redis-6.2` or `valkey-9`.

        Raises:
            ValueError: It is neither.
        """
        match = _SPEC.fullmatch(text.lower())
        if match is None:
            raise ValueError(f"{text!r} is no server such as redis-7.2 or valkey-9")
        return cls(match[1], (int(match[2]), int(match[3] or 0)))

    def __str__(self) -> str:
        return f"{self.vendor}-{self.version[0]}.{self.version[1]}"

    @property
    def has_functions(self) -> bool:
        """Tell whether it knows FUNCTION LOAD."""
        return self._since((7, 0))

    @property
    def has_stream_counters(self) -> bool:
        """Tell whether XSETID and XGROUP CREATE take counters."""
        return self._since((7, 0))

    @property
    def has_consumer_creation(self) -> bool:
        """Tell whether it knows XGROUP CREATECONSUMER."""
        return self._since((6, 2))

    @property
    def has_field_expiry(self) -> bool:
        """Tell whether it knows HPEXPIREAT."""
        return self._since((7, 4), valkey=(9, 0))

    def restores(self, vendor: str, since: int) -> bool:
        """Tell whether it takes a value in its serialized form.

        Args:
            vendor: Of the server that wrote it.
            since: The RDB version that has its type first, and which it says it is of.
        """
        if vendor != self.vendor and since > _COMMON_UNTIL:
            return False
        known = [
            rdb for server, rdb in _RDB_VERSIONS[self.vendor].items() if self.version >= server
        ]
        return since <= max(known, default=6)

    def _since(self, redis: tuple[int, int], valkey: tuple[int, int] = (0, 0)) -> bool:
        return self.version >= (redis if self.vendor == "redis" else valkey)
