"""A replica made of one socket: it says what it is told to, and reads only when it is told to."""

from __future__ import annotations

import socket
from types import TracebackType

from tests.servers.waiting import PATIENCE_SECONDS


class RawReplica:
    """One raw connection to a master or relay.

    Args:
        port: Where it listens on 127.0.0.1.
        read_buffer_bytes: A small receive buffer, so that not reading is felt soon.
    """

    def __init__(self, port: int, *, read_buffer_bytes: int = 0) -> None:
        self.socket = socket.socket()
        if read_buffer_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, read_buffer_bytes)
        self.socket.settimeout(PATIENCE_SECONDS)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        self._buffer = b""

    def __enter__(self) -> RawReplica:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def line(self) -> bytes:
        """Return the next line that is not empty, without its end; b"" when closed."""
        while True:
            head, end, rest = self._buffer.partition(b"\n")
            if end:
                self._buffer = rest
                if head.strip():
                    return head.rstrip(b"\r")
                continue
            data = self.socket.recv(1 << 16)
            if not data:
                return b""
            self._buffer += data

    def read(self, size: int) -> bytes:
        """Return exactly this many bytes."""
        while len(self._buffer) < size:
            data = self.socket.recv(1 << 16)
            if not data:
                raise AssertionError(f"closed after {len(self._buffer)} of {size} bytes")
            self._buffer += data
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    def is_closed(self) -> bool:
        """Read what is there until the peer has closed; False if it has not within the timeout."""
        try:
            while self.socket.recv(1 << 20):
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            pass
        return True
