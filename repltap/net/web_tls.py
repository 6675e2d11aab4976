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
        self._listener = Listener(host, port, "--http", self._accepted)
        self._tasks = OwnedTasks(self._failed)
        self._shaking: list[asyncio.Task[None]] = []

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
