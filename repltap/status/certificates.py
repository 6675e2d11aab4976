"""The certificates that the relay shows."""

from __future__ import annotations

from dataclasses import dataclass


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
