"""Accepting HTTP connections by TLS, with few half-way there at once.

asyncio's own server takes any number of handshakes, and knows of a connection when it is complete:
each of them would hold a file that is kept for the journal.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from functools import partial

from repltap.net.listener import Listener
from repltap.tasks import OwnedTasks
from repltap.tls import ServerTls

log = logging.getLogger("repltap.http")

MAX_HALF_OPEN = 8
"""Their signatures are made on the event loop, at most so many in a row. Browsers open six
connections at once."""

HANDSHAKES_PER_SECOND = 20.0
"""Beyond `MAX_HALF_OPEN`. One signature with an RSA key of 4096 bits takes some 6 ms, in which
nothing is relayed: unlimited, four clients made each answer at the port take 20 to 120 ms.
Prometheus and browsers keep their connections."""

HANDSHAKE_SECONDS = 10.0


class TlsAcceptor:
    """A listening address for HTTP.

    Args:
        host, port: Where; port 0 takes a free one.
        tls: The certificate, and who may connect.
        make: Makes the protocol of a connection, after its handshake.
    """

    def __init__(
        self, host: str, port: int, tls: ServerTls, make: Callable[[], asyncio.Protocol]
    ) -> None:
        self._tls = tls
        self._make = make
        self._listener = Listener(host, port, "--http", self._accepted, a_turn=1)
        self._tasks = OwnedTasks(self._failed)
        self._shaking: list[asyncio.Task[None]] = []
        self._allowed = float(MAX_HALF_OPEN)  # handshakes that may begin at once
        self._counted_at = 0.0

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._listener.port

    async def start(self) -> None:
        """Listen and accept.

        Raises:
            ListenError: The address can't be listened on.
        """
        await self._listener.bind()
        self._listener.start()

    def close(self) -> None:
        """Stop listening; who is half-way there is dropped."""
        self._listener.stop()
        for task in self._shaking:
            task.cancel()

    def _accepted(self, sock: socket.socket) -> None:
        if len(self._shaking) >= MAX_HALF_OPEN:
            self._shaking.pop(0).cancel()
        task = self._tasks.spawn("https handshake", self._shake(sock))
        self._shaking.append(task)
        task.add_done_callback(partial(self._done, sock))
        self._keep_pace(asyncio.get_running_loop().time())

    def _keep_pace(self, now: float) -> None:
        """Count a handshake, and wait before the next one where there are too many."""
        earned = (now - self._counted_at) * HANDSHAKES_PER_SECOND
        self._allowed = min(MAX_HALF_OPEN, self._allowed + earned) - 1
        self._counted_at = now
        if self._allowed < 1:
            self._listener.rest((1 - self._allowed) / HANDSHAKES_PER_SECOND)

    def _done(self, sock: socket.socket, task: asyncio.Task[None]) -> None:
        if task in self._shaking:
            self._shaking.remove(task)
        if task.cancelled():
            sock.close()  # perhaps before it had begun

    async def _shake(self, sock: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._make,
                sock,
                ssl=self._tls.context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )
        except OSError as failure:
            log.debug("TLS handshake failed: %s", failure)

    def _failed(self, failure: BaseException) -> None:
        log.error("an HTTP connection could not be accepted: %r", failure)
