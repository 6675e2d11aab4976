"""When a stored snapshot is too old to be sent while a newer one can be had.

Old is not wrong: it joins the journal, and is sent where no other can be fetched. But a replica
that gets it must apply the whole tail of journal after it, and with Redis 7.4 to 8.2 above, a
replica that lags by more than a hash field's TTL may lose that field (docs/limits.md).
"""

from __future__ import annotations

import random
from collections.abc import Callable

from repltap.config import SnapshotConfig
from repltap.position import Offset
from repltap.status.refresh import RefreshReason
from repltap.store.snapshots import Snapshot

_JITTER = 0.03
"""Of the scheduled time, either way: relays that were started together must not make one master
fork for all of them at once."""

_WORTH = 2
"""A tail is too long only if it is this much longer than what was written while the last snapshot
was fetched: the next one would have a tail like that from the start, and would be fetched for
every replica anew."""


class Staleness:
    """The limits of `[snapshot]`.

    Args:
        config: The limits.
        draw: Gives a number from 0 to 1; for the jitter.
    """

    def __init__(self, config: SnapshotConfig, draw: Callable[[], float] = random.random) -> None:
        self._config = config
        self._draw = draw
        self._written_bytes = 0  # to the journal, while the last snapshot was fetched
        self._planned_for: float | None = None  # the creation time that `_planned_at` is for
        self._planned_at = 0.0

    @property
    def scheduled(self) -> bool:
        """Snapshots are fetched on schedule."""
        return self._config.refresh_seconds is not None

    def judge(self, snapshot: Snapshot, end: Offset, now: float) -> RefreshReason | None:
        """Say why another one should be fetched instead of this, None when it is good.

        Args:
            snapshot: The newest that will do.
            end: The journal's end.
            now: Unix seconds.
        """
        limit = max(self._config.max_tail_bytes, _WORTH * self._written_bytes)
        if end - snapshot.offset > limit:
            return RefreshReason.TAIL
        if end == snapshot.offset:
            return None  # nothing was written since: another would be the same
        age = self._config.max_age_seconds
        if age is not None and now - snapshot.created_at > age:
            return RefreshReason.AGE
        return None

    def fetched(self, written_bytes: int) -> None:
        """Take note of a fetch.

        Args:
            written_bytes: What came into the journal after the offset that the master granted.
        """
        self._written_bytes = written_bytes

    def due(self, created_at: float | None, now: float) -> bool:
        """Tell whether it is time for another one, needed or not.

        Args:
            created_at: When the newest was complete, Unix seconds; None when there is none.
            now: Unix seconds.
        """
        period = self._config.refresh_seconds
        if period is None:
            return False
        if created_at is None:
            return True
        if created_at != self._planned_for:
            self._planned_for = created_at
            jitter = _JITTER * (2 * self._draw() - 1)
            self._planned_at = min(created_at, now) + period * (1 + jitter)
        return now >= self._planned_at
