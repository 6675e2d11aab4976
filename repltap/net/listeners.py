"""Where the port listens: one address without TLS, one with, or either.

What connects comes out as sockets that are ready to talk, whichever way they came in.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from repltap.addresses import host_port
from repltap.config import ListenConfig
from repltap.errors import ListenError
from repltap.net.admission import Admission
from repltap.net.handshakes import ACCEPTS_A_TURN, Handshakes
from repltap.net.listener import Listener


class Listeners:
    """The addresses of the port.

    Args:
        config: Which they are.
        admission: How many clients there may be.
        present: How many there are.
        on_ready: Takes each socket that is connected, its handshake done where there is one.

    Attributes:
        connections: How many have connected since the start.
    """

    def __init__(
        self,
        config: ListenConfig,
        admission: Admission,
        present: Callable[[], int],
        on_ready: Callable[[socket.socket], None],
    ) -> None:
        self._config = config
        self._admission = admission
        self._present = present
        self._on_ready = on_ready
        self._plain: Listener | None = None
        self._secured: Listener | None = None
        self._handshakes: Handshakes | None = None
        self.connections = 0

    @property
    def port(self) -> int:
        """The port without TLS; with TLS where there is no other, as Redis's `tcp_port`."""
        if self._plain is None and self.tls_port is not None:
            return self.tls_port
        return self._plain.port if self._plain is not None else self._config.port

    @property
    def tls_port(self) -> int | None:
        """The port with TLS, None for none."""
        return self._secured.port if self._secured is not None else None

    @property
    def tls_address(self) -> str:
        """Where TLS is listened for, `host:port`, "" for nowhere."""
        where = self._config.tls_address
        return "" if where is None else host_port(where.host, self.tls_port or 0)

    @property
    def addresses(self) -> list[str]:
        """All that is listened on, for people."""
        plain = [host_port(self._config.host, self.port)] if self._config.plain else []
        return plain + ([f"{self.tls_address} (TLS)"] if self.tls_address else [])

    def announced_port(self, *, tls: bool) -> int:
        """Choose what a master is told, as Redis's `syncWithMaster`: with TLS there, that with TLS.

        Args:
            tls: The master is followed by TLS.
        """
        return self.tls_port if tls and self.tls_port is not None else self.port

    @property
    def handshakes_failed(self) -> int:
        """How many clients have failed to come in by TLS."""
        return self._handshakes.failed if self._handshakes is not None else 0

    async def bind(self) -> None:
        """Bind and listen; accepting begins with `start`.

        Raises:
            ListenError: The address can't be listened on.
            ConfigError: The certificate can't be used.
        """
        config = self._config
        if config.plain:
            self._plain = Listener(config.host, config.port, "--listen", self._accepted)
        if config.tls is not None and config.tls_address is not None:
            config.tls.load()
            self._handshakes = Handshakes(config.tls, self._on_ready)
            where = config.tls_address
            begin, flag = self._begin_handshake, "--listen-tls-address"
            self._secured = Listener(where.host, where.port, flag, begin, ACCEPTS_A_TURN)
        try:
            for listener in self._all:
                await listener.bind()
        except ListenError:
            self.stop()
            raise

    def start(self) -> None:
        """Accept from now on."""
        for listener in self._all:
            listener.start()

    def tick(self) -> None:
        """Look at the handshakes' time limits; called every second."""
        if self._handshakes is not None:
            self._handshakes.tick()

    def stop(self) -> None:
        """Accept nobody any more."""
        for listener in self._all:
            listener.stop()
        if self._handshakes is not None:
            self._handshakes.close()

    # -- inside ----------------------------------------------------------------------------------

    @property
    def _all(self) -> list[Listener]:
        return [one for one in (self._plain, self._secured) if one is not None]

    def _accepted(self, sock: socket.socket) -> None:
        self.connections += 1
        self._on_ready(sock)

    def _begin_handshake(self, sock: socket.socket) -> None:
        self.connections += 1
        handshakes = self._handshakes
        assert handshakes is not None
        # Half-way there it holds a file, as a client does.
        full = self._present() + len(handshakes) >= self._admission.max_clients
        if full and not handshakes.drop_oldest():
            self._admission.rejected += 1
            sock.close()
            return
        handshakes.begin(sock)
