"""What the link to the master counts, and what each of its ends is counted as."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from repltap.endings import FailureReason
from repltap.errors import (
    DiskFullError,
    OpenFilesError,
    RemoteProtocolError,
    ReplTapError,
    UpstreamError,
)


@dataclass(slots=True)
class LinkCounters:
    """What the link counts.

    Attributes:
        partial_denied: Full resyncs that were given where a partial one had been asked for.
        snapshot_bytes: What of `received_bytes` were snapshots.
        ends: Links that ended and attempts that failed, by reason.
    """

    connects: int = 0
    disconnects: int = 0
    full_resyncs: int = 0
    partial_resyncs: int = 0
    partial_denied: int = 0
    received_bytes: int = 0
    snapshot_bytes: int = 0
    ends: Counter[FailureReason] = field(default_factory=Counter)

    def ended(self, failure: ReplTapError) -> None:
        """Count an end by what was raised."""
        self.ends[reason_of(failure)] += 1


def reason_of(failure: ReplTapError) -> FailureReason:
    """Name what ended a link, or kept it from coming up."""
    if isinstance(failure, UpstreamError):
        return failure.reason
    for kind, reason in _REASONS.items():
        if isinstance(failure, kind):
            return reason
    return FailureReason.OTHER


_REASONS = {
    DiskFullError: FailureReason.DISK_FULL,
    OpenFilesError: FailureReason.OPEN_FILES,
    RemoteProtocolError: FailureReason.PROTOCOL,
}
