"""The certificates of this relay: can they be used, and for how long."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from repltap.config import Config
from repltap.errors import ConfigError
from repltap.preflight.finding import Finding, Level
from repltap.status.certificates import EXPIRY_WARNING_SECONDS
from repltap.tls import ClientTls, ServerTls


def check_certificates(config: Config) -> list[Finding]:
    """Look at each side's, as `repltap run` would at its start; nothing for a side without one."""
    http = config.http.tls if config.http is not None else None
    sides = {"upstream": config.upstream.client_tls, "listen": config.listen.tls, "http": http}
    return [_look(side, tls) for side, tls in sides.items() if _has_files(tls)]


def _has_files(tls: ClientTls | ServerTls | None) -> bool:
    return tls is not None and tls.config.credentials is not None


def _look(side: str, tls: ClientTls | ServerTls | None) -> Finding:
    check = f"{side}-certificate"
    assert tls is not None
    try:
        own = tls.certificate
    except ConfigError as failure:
        return Finding(check, Level.FAIL, failure.message, failure.hint)
    assert own is not None
    day = datetime.fromtimestamp(own.not_after, UTC).strftime("%Y-%m-%d")
    left = own.not_after - time.time()
    if left <= 0:
        return Finding(check, Level.FAIL, f"{own.name} has expired, on {day}", "renew it")
    level = Level.OK if left >= EXPIRY_WARNING_SECONDS else Level.WARN
    advice = "" if level is Level.OK else "renew it soon"
    return Finding(check, level, f"{own.name} is valid until {day}", advice)
