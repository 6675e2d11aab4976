"""What a master tells of itself, as plain data: what is not told, or not allowed, is None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SETTINGS = (
    "repl-backlog-size",
    "client-output-buffer-limit",
    "repl-timeout",
    "repl-ping-replica-period",
    "repl-diskless-sync",
    "repl-diskless-sync-delay",
    "min-replicas-to-write",
    "maxmemory",
    "maxmemory-policy",
)
"""What CONFIG GET is asked for."""

_MAX_DIGITS = 18
"""Of any number that a server tells; Python refuses to read one of thousands."""

INFO, CONFIG_GET = "info", "config|get"
"""What may be refused, as an ACL calls it."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast a master writes.

    Attributes:
        bytes_per_second: Of its replication stream.
        exact: Counted from its offset. Else it is what clients sent to it, which is more: without a
            replica and a backlog a master does not count what it would send.
    """

    bytes_per_second: float
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a master told.

    Attributes:
        user: Who asked.
        server: What HELLO calls it, `redis` or `valkey`; None where it said nothing.
        version: Major, minor, patch.
        info: INFO's fields; None where INFO is not allowed.
        settings: What CONFIG GET gave; empty where that is not allowed.
        refused: What the server said to `INFO` and `CONFIG_GET`, where it refused them.
        rate: None where INFO is not allowed.
    """

    server: str | None = None
    version: tuple[int, int, int] | None = None
    info: Mapping[str, str] | None = None
    settings: Mapping[str, str]
    refused: Mapping[str, str] = field(default_factory=dict)
    rate: Rate | None = None
    user: str = "default"

    def number(self, field: str) -> int | None:
        """Read a whole number of INFO."""
        return _number((self.info or {}).get(field))

    def setting(self, name: str) -> int | None:
        """Read a whole number of the settings."""
        return _number(self.settings.get(name))

    @property
    def used_memory_bytes(self) -> int | None:
        """What the dataset takes at most: a snapshot is smaller."""
        return self.number("used_memory")


def _number(text: str | None) -> int | None:
    if text is None or len(text) > _MAX_DIGITS or not (text.isascii() and text.isdigit()):
        return None
    return int(text)


def parse_version(text: str) -> tuple[int, int, int] | None:
    """Read a version such as 7.0.15; None for anything else."""
    parts = text.split(".")
    major, minor, patch = map(_number, parts) if len(parts) == 3 else (None, None, None)
    if major is None or minor is None or patch is None:
        return None
    return major, minor, patch
