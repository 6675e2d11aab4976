"""The certificates of a relay: loaded at the start, read again on SIGHUP, watched for their end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from repltap.config import Config
from repltap.config_sources import Given
from repltap.errors import ConfigError
from repltap.reload import Reloads, Take
from repltap.rereading import Sources
from repltap.status.certificates import EXPIRY_WARNING_SECONDS, CertificateStatus
from repltap.tls import ClientTlsConfig, ServerTlsConfig, Tls
from repltap.tls_config import http_tls, listen_tls, read_tls, upstream_tls

log = logging.getLogger("repltap.app")

_DAY_SECONDS = 86400.0

_C = TypeVar("_C", ClientTlsConfig, ServerTlsConfig)


class Certificates:
    """What is shown to peers, and what peers have to show.

    Args:
        config: Of the relay.
    """

    def __init__(self, config: Config) -> None:
        self._upstream = config.upstream.client_tls
        self._listen = config.listen.tls
        self._http = config.http.tls if config.http is not None else None
        held = {"upstream": self._upstream, "listen": self._listen, "http": self._http}
        self._held = {side: tls for side, tls in held.items() if tls is not None}

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
        self._add(reloads, "upstream", self._upstream, upstream_tls, sources, retry)
        self._add(reloads, "listen", self._listen, listen_tls, sources)
        self._add(reloads, "http", self._http, http_tls, sources)

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

    def _add(
        self,
        reloads: Reloads,
        side: str,
        held: Tls[_C] | None,
        make: Callable[[Given], Tls[_C] | None],
        sources: Sources,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        if held is None:
            return  # where TLS was off at the start it stays so

        def read() -> Take:
            now = read_tls(make, sources.flags, sources.environ, sources.file)
            if now is None:
                raise ConfigError(
                    f"{side}: TLS is off in the configuration now", hint="that needs a restart"
                )
            put_into_effect = held.read(now.config)

            def take() -> str:
                said = put_into_effect()
                self.warn(time.time())
                after()
                return said

            return take

        reloads.add(f"{side} TLS", read)
