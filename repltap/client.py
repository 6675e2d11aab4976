"""Just enough of a RESP client to ask a server something: pipelines, INFO, one blocking socket.

For the demo and for `repltap check`; what follows a master speaks through `repltap.protocol`.
hiredis frames the replies; there is no Redis client library in the product.
"""

from __future__ import annotations

import socket
import ssl
import time

import hiredis

from repltap.errors import RemoteProtocolError, ReplTapError
from repltap.replies import ReplyReader
from repltap.tls import ClientTls

TIMEOUT_SECONDS = 30.0
_READ_BYTES = 1 << 16
_MAX_REPLY_BYTES = 4 << 20
_MAX_ELEMENTS = 64 << 10
"""An INFO of ten thousand replicas takes one megabyte; nothing longer is asked for."""


class Connection:
    """One connection to one server; every failure is a ConnectionError (an OSError)."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        tls: ClientTls | None = None,
    ) -> None:
        """Connect, to a unix socket where port is 0.

        Raises:
            OSError: Nobody listens; an SSLError among them, for the TLS handshake.
            ConfigError: A file of TLS can't be used.
        """
        self._socket: socket.socket
        if port:
            self._socket = socket.create_connection((host, port), timeout=timeout_seconds)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is not None:
                # Its own socket is closed when the handshake fails.
                context = tls.context
                self._socket = context.wrap_socket(self._socket, server_hostname=tls.name(host))
        else:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(timeout_seconds)
            try:
                self._socket.connect(host)
            except OSError:
                self._socket.close()
                raise
        self._timeout_seconds = timeout_seconds
        self._reader = ReplyReader(_MAX_REPLY_BYTES, _MAX_ELEMENTS)

    def pipeline(self, commands: list[tuple[bytes | str | int, ...]]) -> list[object]:
        """Send commands at once.

        Args:
            commands: Each a command and its arguments.

        Returns:
            Their replies in order; an error reply is a `hiredis.ReplyError` in its place.

        Raises:
            OSError: The connection failed, or the server was silent for too long.
        """
        # hiredis's stub says "a tuple of one"; any number is what it takes.
        packed = [hiredis.pack_command(command) for command in commands]  # type: ignore[arg-type]
        try:
            self._socket.sendall(b"".join(packed))
        except OSError:
            if isinstance(self._socket, ssl.SSLSocket):
                self._socket.recv(1)  # raises what the server has said before it closed, if it did
            raise
        return [self._reply() for _ in commands]

    def call(self, *command: bytes | str | int) -> bytes:
        """Send one command.

        Returns:
            Its reply as bytes.

        Raises:
            ReplTapError: An error reply, or one that is not a string.
            OSError: As `pipeline`.
        """
        reply = self.pipeline([command])[0]
        if isinstance(reply, str):
            return reply.encode()
        if not isinstance(reply, bytes):
            raise ReplTapError(f"{command[0]!s}: unexpected reply {reply!r}")
        return reply

    def info(self, section: str) -> dict[str, str]:
        """Read one section of INFO."""
        lines = self.call("INFO", section).decode("utf-8", "replace").split("\r\n")
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def close(self) -> None:
        """Close the socket; harmless twice."""
        self._socket.close()

    def _reply(self) -> object:
        # Of the whole reply: one that comes byte by byte would never end otherwise.
        deadline = time.monotonic() + self._timeout_seconds
        try:
            # hiredis says False for "not yet": nothing is asked for that is a RESP3 boolean.
            while (reply := self._reader.gets()) is False:
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                data = self._socket.recv(_READ_BYTES)
                if not data:
                    raise ConnectionResetError("the server closed the connection")
                if data[:1] == b"\x15":  # an alert: our command was no ClientHello
                    raise ConnectionResetError("it speaks TLS there: use rediss:// or --tls")
                self._reader.feed(data)
        except RemoteProtocolError as exc:
            raise ConnectionResetError(str(exc)) from exc
        return reply
