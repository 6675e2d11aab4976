"""Which RDB formats a replica can load, as far as what it said of itself tells.

Only Valkey 8 and later say their version (`REPLCONF version`); a replica that says nothing is a
Redis, or a Valkey 7.2. The rules are `rdbLoadRioWithLoadingCtx` of each server;
docs/compatibility.md has what real ones load.
"""

from __future__ import annotations

from dataclasses import dataclass

_VALKEY_FIRST_NATIVE = 9
"""Valkey 9.0 is the first to read and write the `VALKEY` magic."""

_FOREIGN_FROM = 12
"""RDB 12 to 79 are Redis's alone: every Valkey refuses them."""


def major_version(version: str) -> int | None:
    """Read the major number of `9.1.2`; None when nothing was said."""
    head = version.partition(".")[0]
    return int(head) if head.isdigit() else None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a replica announced, as far as it decides which snapshots will do.

    Attributes:
        version: What it sent as `REPLCONF version`, "" for nothing.
        relay: It is another repltap: it loads nothing itself, and announces a version to be given
            Valkey's own format, not because it is a Valkey.
    """

    version: str = ""
    relay: bool = False

    def loads(self, rdb_format: str) -> bool:
        """Tell whether it can load a snapshot.

        Args:
            rdb_format: Magic and version in lower case, such as `redis0011` or `valkey080`.

        Returns:
            False only where it is known to refuse it. Whether a Redis is too old for an RDB can't
            be known: it announces nothing.
        """
        major = major_version(self.version)
        vendor, number = rdb_format[:-4].lower(), rdb_format[-4:]
        if rdb_format.lower().startswith("valkey"):
            return major is not None and major >= _VALKEY_FIRST_NATIVE
        if vendor != "redis" or not number.isdigit():
            return False  # not an RDB at all: nobody can
        return self.relay or major is None or int(number) < _FOREIGN_FROM

    @property
    def announce(self) -> str | None:
        """What to announce upstream to get a snapshot that it can load, None for no version.

        Valkey 9 writes its own format for who announces 9 or later and RDB 11 for everybody else
        (`replicaRdbVersion`); other servers take no notice.
        """
        major = major_version(self.version)
        return self.version if major is not None and major >= _VALKEY_FIRST_NATIVE else None
