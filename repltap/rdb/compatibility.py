"""Which RDB formats a replica can load, as far as what it said of itself tells.

Only Valkey 8 and later say their version (`REPLCONF version`); a replica that says nothing is a
Redis, or a Valkey 7.2. `protocol-facts`: "Who loads what", verified with real servers; the rules
are `rdbLoadRioWithLoadingCtx` of each server.
"""

from __future__ import annotations

_VALKEY_FIRST_NATIVE = 9
"""Valkey 9.0 is the first to read and write the `VALKEY` magic."""

_FOREIGN_FROM = 12
"""RDB 12 to 79 are Redis's alone: every Valkey refuses them."""


def major_version(version: str) -> int | None:
    """Read the major number of `9.1.2`; None when nothing was said."""
    head = version.partition(".")[0]
    return int(head) if head.isdigit() else None


def can_load(rdb_format: str, version: str, *, relay: bool = False) -> bool:
    """Tell whether a replica can load a snapshot, given what it announced.

    Args:
        rdb_format: Magic and version in lower case, such as `redis0011` or `valkey080`.
        version: What it sent as `REPLCONF version`, "" for nothing.
        relay: It is another repltap: it loads nothing itself, and announces a version to be given
            Valkey's own format, not because it is a Valkey.

    Returns:
        False only where it is known to refuse it. Whether a Redis is too old for an RDB can't be
        known: it announces nothing.
    """
    major = major_version(version)
    rdb_format = rdb_format.lower()
    if rdb_format.startswith("valkey"):
        return major is not None and major >= _VALKEY_FIRST_NATIVE
    number = int(rdb_format.removeprefix("redis") or 0)
    return relay or major is None or number < _FOREIGN_FROM


def version_to_announce(version: str) -> str | None:
    """Tell what to announce upstream to get a snapshot that this replica can load.

    Valkey 9 writes its own format for who announces 9 or later and RDB 11 for everybody else
    (`replicaRdbVersion`); other servers take no notice.

    Args:
        version: What the replica announced, "" for nothing.

    Returns:
        The version to send, None to send none.
    """
    major = major_version(version)
    return version if major is not None and major >= _VALKEY_FIRST_NATIVE else None
