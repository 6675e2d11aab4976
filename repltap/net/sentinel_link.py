"""The connection to one sentinel: kept open, asked now and then, and listened to."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import Callable

from repltap.addresses import host_port
from repltap.config import SentinelConfig
from repltap.errors import RemoteProtocolError, UpstreamError
from repltap.logs import PeerLogger
from repltap.net.names import open_socket
from repltap.protocol.sentinel import Address, MasterTold, SentinelProtocol
from repltap.reasons import os_reason
from repltap.status.sentinel import SentinelSeen, SentinelState
from repltap.tasks import wait_at_most

_CONNECT_SECONDS = 3.0
_ANSWER_SECONDS = 3.0
"""A sentinel answers from memory, in microseconds; one that takes longer is of no use now."""

_CALM_SECONDS = 10.0
_URGENT_SECONDS = 1.0
"""How often it is asked while the master's stream runs, and while it doesn't. News come by
themselves; this is for those that got lost."""

_BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)
_READ_BYTES = 1 << 16

_NO_HANDSHAKE = ", TLS handshake included: is this its tls-port?"


class SentinelLink:
    """One sentinel.

    Args:
        address: Where it is; a name is looked up again for each connection.
        config: How to log in, and the master's name.
        configured: It is in the configuration.
        on_told: Called with each answer; with None when it is lost.
        urgent: Whether the master's stream is down.
    """

    def __init__(
        self,
        address: Address,
        config: SentinelConfig,
        *,
        configured: bool,
        on_told: Callable[[SentinelLink, MasterTold | None], None],
        urgent: Callable[[], bool],
    ) -> None:
        self.address = address
        self.configured = configured
        self.tried = False  # it has answered, or failed, once
        self._config = config
        self._on_told = on_told
        self._urgent = urgent
        self._log = PeerLogger("upstream", peer=self.name)
        self._state = SentinelState.CONNECTING
        self._told: MasterTold | None = None
        self._told_at: float | None = None
        self._listening = False
        self._error = ""
        self._failures = 0
        self._nudged = asyncio.Event()
        self._answered = asyncio.Event()

    @property
    def name(self) -> str:
        """The sentinel, `host:port`."""
        return host_port(*self.address)

    @property
    def answering(self) -> bool:
        """It has answered over the connection that it has now."""
        return self._state is SentinelState.ANSWERING

    def nudge(self) -> None:
        """Ask it now."""
        self._nudged.set()

    def seen(self) -> SentinelSeen:
        """Show it."""
        told = self._told
        master = told.master if told else None
        return SentinelSeen(
            address=self.name,
            configured=self.configured,
            state=self._state,
            master=host_port(*master) if master else "",
            epoch=told.epoch if told else None,
            told_at=self._told_at,
            listening=self._listening and self.answering,
            error="" if self.answering else self._error,
        )

    async def run(self) -> None:
        """Keep asking until cancelled."""
        while True:
            try:
                await self._converse()
            except* (UpstreamError, RemoteProtocolError) as failures:
                self._failed(failures.exceptions[0])
            if (task := asyncio.current_task()) is not None and task.cancelling():
                # Up to Python 3.12 a TaskGroup that has failed keeps to itself that it was
                # cancelled as well: this would go on for ever, and who stops it wait as long.
                raise asyncio.CancelledError
            step = _BACKOFF_SECONDS[min(self._failures, len(_BACKOFF_SECONDS)) - 1]
            if self._urgent():
                step = min(step, 2 * _URGENT_SECONDS)
            await asyncio.sleep(random.uniform(0.5, 1.0) * step)

    def take_credentials(self, config: SentinelConfig) -> None:
        """Log in with these at the next connection; the present one stays."""
        self._config = config
        self.nudge()

    # -- inside ----------------------------------------------------------------------------------

    async def _converse(self) -> None:
        """Hold one connection until it breaks.

        Raises:
            ExceptionGroup: Of UpstreamError or RemoteProtocolError, always.
        """
        async with asyncio.TaskGroup() as group:
            reader, writer = await self._open()
            try:
                protocol = SentinelProtocol(
                    self._config.master_name, self._config.username, self._config.password
                )
                asking = group.create_task(self._ask(protocol, writer))
                try:
                    await self._read(protocol, reader)
                finally:
                    asking.cancel()
            finally:
                writer.transport.abort()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        tls, host = self._config.tls, self.address[0]
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                sock = await open_socket(*self.address)
                if tls is None:
                    return await asyncio.open_connection(sock=sock)
                return await asyncio.open_connection(
                    sock=sock,
                    ssl=tls.context,
                    server_hostname=tls.name(host),
                    ssl_handshake_timeout=2 * _CONNECT_SECONDS,  # ours ends it before
                )
        except TimeoutError as failure:
            raise UpstreamError(
                f"no connection within {_CONNECT_SECONDS:g} s{'' if tls is None else _NO_HANDSHAKE}"
            ) from failure
        except (OSError, UnicodeError) as failure:
            raise UpstreamError(f"can't connect: {self._reason(failure)}") from failure

    def _reason(self, failure: OSError | UnicodeError) -> str:
        if not isinstance(failure, OSError):
            return "not a host name"
        if self._config.tls is not None and isinstance(failure, ssl.SSLError):
            fault = self._config.tls.fault(failure, "the sentinel", self.address[0])
            return f"{fault.message}: {fault.hint}" if fault.hint else fault.message
        return os_reason(failure)

    async def _ask(self, protocol: SentinelProtocol, writer: asyncio.StreamWriter) -> None:
        while True:
            self._nudged.clear()
            self._answered.clear()
            protocol.ask()
            writer.write(protocol.data_to_send())
            if not await wait_at_most(self._answered, _ANSWER_SECONDS):
                raise UpstreamError(f"no answer within {_ANSWER_SECONDS:g} s")
            await wait_at_most(self._nudged, _URGENT_SECONDS if self._urgent() else _CALM_SECONDS)

    async def _read(self, protocol: SentinelProtocol, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                data = await reader.read(_READ_BYTES)
            except OSError as failure:
                # In TLS 1.3 a certificate that is missing is told after the handshake.
                raise UpstreamError(f"connection lost: {self._reason(failure)}") from failure
            if not data:
                raise UpstreamError("the sentinel closed the connection")
            protocol.receive_data(data)
            for event in protocol.events_received():
                if isinstance(event, MasterTold):
                    self._heard(event, listening=protocol.listening is True)
                else:
                    self._log.debug("< %s", event.text)
                    self._nudged.set()

    def _heard(self, told: MasterTold, *, listening: bool) -> None:
        if not self.answering:
            master = host_port(*told.master) if told.master else "not known to it"
            self._log.info("sentinel answers: master %s", master)
        self._state = SentinelState.ANSWERING
        self._told, self._told_at = told, time.time()
        self._listening = listening
        self._failures = 0
        self.tried = True
        self._answered.set()
        self._on_told(self, told)

    def _failed(self, failure: BaseException) -> None:
        error = str(failure)
        if error != self._error or self.answering:
            self._log.warning("sentinel: %s", error)
        self._state = SentinelState.AWAY
        self._error = error
        self._failures += 1
        self.tried = True
        self._on_told(self, None)
