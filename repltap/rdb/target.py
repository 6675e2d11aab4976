"""What the server knows that commands are written for."""

from __future__ import annotations

import re
from dataclasses import dataclass

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

    def _since(self, redis: tuple[int, int], valkey: tuple[int, int] = (0, 0)) -> bool:
        return self.version >= (redis if self.vendor == "redis" else valkey)
