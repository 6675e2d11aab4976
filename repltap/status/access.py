"""What the status shows of logins, and of secrets that were read again. Data only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginFailureStatus:
    """Logins that have failed; a new one at most every ten seconds.

    Attributes:
        at: When the last of them did, Unix seconds.
        address: Where that one came from, without its port.
        count: How many there were since the time before.
    """

    at: float
    address: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadStatus:
    """How the last reload of a part went.

    Attributes:
        part: What was read again.
        at: When, Unix seconds.
        result: What has changed, "" when it failed.
        error: Why the old one stays in use, "" when it was read.
    """

    part: str
    at: float
    result: str = ""
    error: str = ""
