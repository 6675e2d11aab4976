"""How the store lays out what it keeps. Set once, by whoever opens the store."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """Sizes and limits.

    Attributes:
        segment_bytes: A segment is closed when it holds this much. Retention deletes whole
            segments, so this is also how coarse it is.
        index_interval_bytes: An index record is due when this much is not covered by one. It is
            about what a crash of the process may cost (the master is asked for it again).
        index_interval_seconds: It is also due when the last one is this old.
        quota_bytes: Hard limit for journals and snapshots together, None for none. Reaching it is
            like a full disk. Only 24 bytes an index record may go past it.
    """

    segment_bytes: int = 64 << 20
    index_interval_bytes: int = 64 << 10
    index_interval_seconds: float = 0.05
    quota_bytes: int | None = None
