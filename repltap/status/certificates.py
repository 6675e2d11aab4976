"""The certificates that the relay shows."""

from __future__ import annotations

from dataclasses import dataclass

EXPIRY_WARNING_SECONDS = 14 * 86400.0
"""Time enough to renew a certificate by hand, and short enough that one that renews itself every
90 days, 30 before its end, never gets here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateStatus:
    """One of our own certificates.

    Attributes:
        side: Who sees it: `upstream`, the master; `listen`, replicas and clients; `http`.
        name: Its common name, "" where it has none.
        file: Where it was read.
        expires_at: Unix seconds.
    """

    side: str
    name: str
    file: str
    expires_at: float
