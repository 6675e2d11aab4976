"""A try to fetch a snapshot that came to nothing, as the status shows it. Data only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshFailureStatus:
    """The last one, until a snapshot has been fetched.

    Attributes:
        at: When it failed.
        reason: Why one was wanted, a value of `repltap.status.RefreshReason`.
        message: What went wrong.
        next_try_at: When the master may be asked for it again, if somebody still wants it.
    """

    at: float
    reason: str
    message: str
    next_try_at: float
