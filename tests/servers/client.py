"""A small blocking RESP2 client: one socket, nothing sent that was not asked for."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

import hiredis

from tests.servers.waiting import PATIENCE_SECONDS

Argument = bytes | str | int | float
# Any: a reply nests lists of bytes, numbers and errors; callers know what they asked for.
Reply = Any


class Client:
    """One connection to a server.

    Attributes:
        port: Of the server.

    Raises:
        OSError: The connection failed or was closed (each method).
        hiredis.ReplyError: The server answered an error (`call`, not `pipeline`).
    """

    def __init__(
        self, port: int, *, timeout_seconds: float = PATIENCE_SECONDS, password: str = ""
    ) -> None:
        self.port = port
        self._socket = socket.create_connection(("127.0.0.1", port), timeout_seconds)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()
        if password:
            try:
                self.call("AUTH", password)
            except BaseException:
                self.close()  # nobody else can: a warning in whichever test runs then
                raise

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def call(self, *args: Argument) -> Reply:
        """Send one command and return its reply."""
        reply = self.pipeline([args])[0]
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        return reply

    def pipeline(self, commands: Iterable[Sequence[Argument]]) -> list[Reply]:
        """Send commands in one write and return their replies; errors are among them."""
        # The type stub of hiredis says "a tuple of one".
        packed = [hiredis.pack_command(tuple(c)) for c in commands]  # type: ignore[arg-type]
        self._socket.sendall(b"".join(packed))
        return [self._read() for _ in packed]

    def read(self) -> Reply:
        """Return what comes by itself, such as a message to a subscriber."""
        return self._read()

    def _read(self) -> Reply:
        while True:
            reply = self._reader.gets()
            if reply is not False:
                return reply
            data = self._socket.recv(1 << 16)
            if not data:
                raise ConnectionResetError("the server closed the connection")
            self._reader.feed(data)


def call(
    port: int,
    *args: Argument,
    password: str = "",
    timeout_seconds: float = PATIENCE_SECONDS,
) -> Reply:
    """Send one command over a connection of its own."""
    with Client(port, password=password, timeout_seconds=timeout_seconds) as client:
        return client.call(*args)
