"""Who left the port, and why: counts by reason, and the last of them in full."""

from __future__ import annotations

import time
from collections import Counter, deque

from repltap.endings import DisconnectReason, Ending
from repltap.errors import (
    CorruptStoreError,
    NotRetainedError,
    StoreError,
)
from repltap.position import Offset
from repltap.status.replicas import DisconnectStatus

_REMEMBERED = 32
"""As many as fit on a screen; a relay whose replicas come and go fills it in minutes."""


class Departures:
    """The replicas that have been disconnected since the start."""

    def __init__(self) -> None:
        self._counts: Counter[DisconnectReason] = Counter()
        self._recent: deque[DisconnectStatus] = deque(maxlen=_REMEMBERED)

    def note(self, replica: str, ending: Ending, acked: Offset | None) -> None:
        """Count one.

        Args:
            replica: Its name for people.
            ending: Why it went.
            acked: What it had acknowledged, None when nothing.
        """
        self._counts[ending.reason] += 1
        self._recent.append(
            DisconnectStatus(
                at=time.time(),
                replica=replica,
                reason=ending.reason.value,
                detail=ending.detail,
                acked_offset=acked,
            )
        )

    @property
    def counts(self) -> dict[str, int]:
        """How many went for each reason that has occurred."""
        return {reason.value: count for reason, count in self._counts.items()}

    @property
    def recent(self) -> tuple[DisconnectStatus, ...]:
        """The last ones, newest first."""
        return tuple(reversed(self._recent))


def ending_of(failure: StoreError, doing: str = "") -> Ending:
    """Say what a failed read of the store means for the session that it ends.

    Args:
        failure: What was raised.
        doing: What could not be done, for the sentence.
    """
    if isinstance(failure, CorruptStoreError):
        reason = DisconnectReason.DAMAGED
    elif isinstance(failure, NotRetainedError):
        reason = DisconnectReason.NOT_RETAINED
    else:
        reason = DisconnectReason.STORE_ERROR
    return Ending(reason, f"{doing}: {failure}" if doing else str(failure))
