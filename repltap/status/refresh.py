"""A snapshot that is fetched anew, or could not be, as the status shows it. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from repltap.position import Offset


class RefreshReason(Enum):
    """Why another snapshot is fetched."""

    NO_SNAPSHOT = "no_snapshot"  # a replica needs one, and none is stored
    FORMAT = "format"  # nor can it load those that are
    TAIL = "tail"  # too much journal follows the newest
    AGE = "age"  # the newest is too old
    SCHEDULE = "schedule"  # it is time
    SINK = "sink"  # a sink needs one, and none is stored that the journal joins


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshStatus:
    """Another snapshot, on its way in over a second connection.

    Attributes:
        reason: Why it is fetched.
        started_at: When the master was asked.
        offset: The stream offset it describes; None before the master has granted it.
        received_bytes, total_bytes: What has arrived, of how much; None where it is not known.
        waiters: Replicas that wait for it.
        receivers: Replicas that are sent it while it arrives.
    """

    reason: RefreshReason
    started_at: float
    offset: Offset | None = None
    received_bytes: int = 0
    total_bytes: int | None = None
    waiters: int = 0
    receivers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshFailureStatus:
    """The last one, until a snapshot has been fetched.

    Attributes:
        at: When it failed.
        reason: Why one was wanted, a value of `RefreshReason`.
        message: What went wrong.
        next_try_at: When the master may be asked for it again, if somebody still wants it.
    """

    at: float
    reason: str
    message: str
    next_try_at: float
