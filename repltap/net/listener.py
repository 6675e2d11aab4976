"""A listening address: its sockets, one for each address of a name, and accepting on them.

Who is accepted is none of its business. Without file descriptors it waits for a moment, so that the
event loop does not spin on a connection that can't be taken.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable

from repltap.addresses import host_port
from repltap.errors import ListenError
from repltap.reasons import os_reason

log = logging.getLogger("repltap.downstream")

_BACKLOG = 511
"""Connections the kernel may hold for us, as Redis's `tcp-backlog`: a herd of replicas that comes
back at once must not be refused."""

_LISTEN_HINTS = {
    errno.EADDRINUSE: "another process has this port: stop it, or choose another with {flag}",
    errno.EADDRNOTAVAIL: "this machine has no such address: give one of its own with {flag}, or "
    "0.0.0.0 for all",
    errno.EACCES: "ports below 1024 are for root: choose another with {flag}",
}

_ACCEPTS_A_TURN = 64
_PAUSE_SECONDS = 1.0


class Listener:
    """One address.

    Args:
        host, port: Where; port 0 takes a free one.
        flag: How the address is chosen, for the error when it is taken.
        on_accepted: Takes each socket, non-blocking.
        a_turn: How many are accepted before the others have their turn.
    """

    def __init__(
        self,
        host: str,
        port: int,
        flag: str,
        on_accepted: Callable[[socket.socket], None],
        a_turn: int = _ACCEPTS_A_TURN,
    ) -> None:
        self._a_turn = a_turn
        self._host = host
        self._port = port
        self._flag = flag
        self._on_accepted = on_accepted
        self._sockets: list[socket.socket] = []

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._port

    async def bind(self) -> None:
        """Bind and listen; accepting begins with `start`.

        Raises:
            ListenError: The address can't be listened on.
        """
        host, port = self._host, self._port
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for family, kind, proto, _, address in dict.fromkeys(found):
                # With port 0 the first address chooses for all.
                address = (address[0], self._port, *address[2:])
                self._sockets.append(_listening_socket(family, kind, proto, address))
                self._port = int(self._sockets[0].getsockname()[1])
        except UnicodeError as failure:
            raise ListenError(
                f"can't listen on {host_port(host, port)}: not a host name"
            ) from failure
        except OSError as failure:
            self.stop()
            raise ListenError(
                f"can't listen on {host_port(host, port)}: {os_reason(failure)}",
                hint=_LISTEN_HINTS.get(failure.errno or 0, "").format(flag=self._flag),
            ) from failure

    def start(self) -> None:
        """Accept."""
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            loop.add_reader(sock.fileno(), self._accept, sock)

    def stop(self) -> None:
        """Accept nobody any more."""
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            loop.remove_reader(sock.fileno())
            sock.close()
        self._sockets.clear()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(self._a_turn):
            try:
                sock, _ = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as failure:
                # Out of file descriptors, most likely: those who wait are served when some close.
                log.error("can't accept a connection: %s", os_reason(failure))
                self._pause(listening)
                return
            sock.setblocking(False)
            self._on_accepted(sock)

    def rest(self, seconds: float) -> None:
        """Accept nobody for so long: who comes waits with the kernel."""
        for listening in self._sockets:
            self._pause(listening, seconds)

    def _pause(self, listening: socket.socket, seconds: float = _PAUSE_SECONDS) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening.fileno())
        loop.call_later(seconds, self._resume, listening)

    def _resume(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            loop = asyncio.get_running_loop()
            loop.add_reader(listening.fileno(), self._accept, listening)


def _listening_socket(
    family: int, kind: int, proto: int, address: tuple[object, ...]
) -> socket.socket:
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind(address)
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock
