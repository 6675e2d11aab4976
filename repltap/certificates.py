"""The certificates of a relay: loaded at the start, read again on SIGHUP, watched for their end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from repltap.config import Config
from repltap.errors import ConfigError
from repltap.reload import Reloads, Take
from repltap.rereading import Sources
from repltap.status.certificates import EXPIRY_WARNING_SECONDS, CertificateStatus
from repltap.tls import ClientTls, ServerTls
from repltap.tls_config import http_tls, listen_tls, read_tls, upstream_tls

log = logging.getLogger("repltap.app")

_DAY_SECONDS = 86400.0


class Certificates:
    """What is shown to peers, and what peers have to show.

    Args:
        config: Of the relay.
    """

    def __init__(self, config: Config) -> None:
        http = config.http.tls if config.http is not None else None
        held = {"upstream": config.upstream.client_tls, "listen": config.listen.tls, "http": http}
        self._held: dict[str, ClientTls | ServerTls] = {
            side: tls for side, tls in held.items() if tls is not None
        }

    def load(self) -> None:
        """Read all files.

        Raises:
            ConfigError: One can't be used.
        """
        for tls in self._held.values():
            tls.load()

    def read_again(self, reloads: Reloads, sources: Sources, retry: Callable[[], None]) -> None:
        """Register what SIGHUP reads.

        Args:
            reloads: Where.
            sources: The configuration.
            retry: Called when there is something new towards the master.
        """
        for side in self._held:
            reloads.add(f"{side} TLS", partial(self._read, side, sources, retry))

    def status(self) -> tuple[CertificateStatus, ...]:
        """Show our own certificates."""
        return tuple(
            CertificateStatus(
                side=side,
                name=tls.certificate.name,
                file=str(tls.config.credentials.cert_file),
                expires_at=tls.certificate.not_after,
            )
            for side, tls in self._held.items()
            if tls.certificate is not None and tls.config.credentials is not None
        )

    async def run(self) -> None:
        """Say each day which will end soon, until cancelled."""
        while True:
            self.warn(time.time())
            await asyncio.sleep(_DAY_SECONDS)

    def warn(self, now: float) -> None:
        """Say which will end soon, or have ended."""
        for one in self.status():
            left = one.expires_at - now
            day = datetime.fromtimestamp(one.expires_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
            if left <= 0:
                log.error(
                    "%s: the certificate in %s has expired, at %s: peers refuse it. Renew it and "
                    "send SIGHUP",
                    one.side,
                    one.file,
                    day,
                )
            elif left < EXPIRY_WARNING_SECONDS:
                log.warning(
                    "%s: the certificate in %s expires in %d days, at %s: renew it and send SIGHUP",
                    one.side,
                    one.file,
                    left // _DAY_SECONDS,
                    day,
                )

    def _read(self, side: str, sources: Sources, retry: Callable[[], None]) -> Take:
        held = self._held[side]
        given = sources.flags, sources.environ, sources.file
        make = {"upstream": upstream_tls, "listen": listen_tls, "http": http_tls}[side]
        now = read_tls(make, *given)
        take: Take | None = None
        if isinstance(held, ServerTls):
            take = held.read(now.config) if isinstance(now, ServerTls) else None
        elif isinstance(now, ClientTls):
            take = held.read(now.config)
        if take is None:
            raise ConfigError(
                f"{side}: TLS is off in the configuration now", hint="that needs a restart"
            )
        put_into_effect = take

        def taken() -> str:
            said = put_into_effect()
            self.warn(time.time())
            if side == "upstream":
                retry()
            return said

        return taken
