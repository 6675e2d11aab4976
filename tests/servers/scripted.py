"""A master that is a script: it says yes to the handshake, the test answers PSYNC byte by byte."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

import anycrc

from tests.servers.ports import free_port
from tests.servers.waiting import PATIENCE_SECONDS

REPLID = b"a" * 40
_crc = anycrc.Model("CRC64-REDIS")

Answer = Callable[[socket.socket, int, bytes], None]
"""Called with the connection, its number from 1 on, and the replid that is asked for; the
connection is closed when it returns."""


def rdb(body: bytes = b"", *, magic: bytes = b"REDIS0009") -> bytes:
    """Make an RDB of this body, with a checksum that is right."""
    content = magic + body + b"\xff"
    return content + int(_crc.calc(content)).to_bytes(8, "little")


def full(data: bytes, offset: int = 0) -> bytes:
    """Grant a full sync: what is sent after PSYNC up to the stream."""
    return b"+FULLRESYNC %b %d\r\n$%d\r\n%b" % (REPLID, offset, len(data), data)


def until_closed(link: socket.socket) -> None:
    """Read until the other side has closed."""
    with suppress(OSError):
        while link.recv(1 << 16):
            pass


class ScriptedMaster:
    """Listens on `port`, with a thread for each connection.

    Attributes:
        accepted_at: When each connection came, on the monotonic clock.
    """

    def __init__(self, answer: Answer) -> None:
        self.port = free_port()
        self.accepted_at: list[float] = []
        self._answer = answer
        self._links: list[socket.socket] = []
        self._talks: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> ScriptedMaster:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE_SECONDS)
        for link in self._links:
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
        # Else it would be in the next test that a socket closes, or an answer fails.
        for talk in self._talks:
            talk.join(PATIENCE_SECONDS)

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            self.accepted_at.append(time.monotonic())
            self._links.append(link)
            number = len(self._links)
            talk = threading.Thread(target=self._serve, args=(link, number), daemon=True)
            self._talks.append(talk)
            talk.start()

    def _serve(self, link: socket.socket, number: int) -> None:
        with link, link.makefile("rb") as lines, suppress(OSError):
            while head := lines.readline():
                args = []
                for _ in range(int(head[1:])):
                    size = int(lines.readline()[1:])
                    args.append(lines.read(size + 2)[:-2])
                if args[0] == b"PSYNC":
                    self._answer(link, number, args[1])
                    return
                link.sendall(b"+PONG\r\n" if args[0] == b"PING" else b"+OK\r\n")
