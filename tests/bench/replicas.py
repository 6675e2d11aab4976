"""Raw replicas: sockets that do the handshake, read, discard, and acknowledge each second.

`python -m tests.bench.replicas` is the process that holds them, so that they cost the measured one
nothing but what it sends; one loop serves any number. It takes one JSON array a line on its
standard input, `["attach", port, count, record, check, ca]`, `["status"]` or
`["arrivals", index]`, and answers each with one JSON line. It ends with its input.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import ssl
import sys
import time
import zlib
from typing import Any

_ACK_SECONDS = 1.0
# Until the stream begins: the first ACK after an end mark is usually lost.
_EAGER_ACK_SECONDS = 0.1
_READ_BYTES = 1 << 20
_HANDSHAKE = (
    b"PING\r\n",
    b"REPLCONF listening-port 1\r\n",
    b"REPLCONF capa eof capa psync2\r\n",
)


class RawReplica:
    """One replica connection.

    Attributes:
        offset: Stream offset up to which it has read.
        attached_at, online_at: CLOCK_MONOTONIC seconds: its PSYNC, and its first stream byte.
        arrivals: When which stream bytes came, when it was told to record that.
        checksum: CRC-32 of all it was sent behind the headers, when it was told to check that.
    """

    def __init__(self, port: int, *, record: bool, check: bool, ca_file: str = "") -> None:
        self.offset = 0
        self.snapshot_bytes = 0
        self.attached_at = time.monotonic()
        self.online_at: float | None = None
        self.arrivals: list[tuple[int, bytes]] = []
        self.checksum = 0
        self._record = record
        self._check = check
        self._lines = bytearray()
        self._left: int | None = None  # of a `$<len>` snapshot
        self._mark = b""
        self._tail = b""
        self._streaming = False
        self.socket: socket.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if ca_file:
            context = ssl.create_default_context(cafile=ca_file)
            self.socket = context.wrap_socket(self.socket, server_hostname="127.0.0.1")
        for question in _HANDSHAKE:
            self.socket.sendall(question)
            answer = self.socket.recv(1024)
            if not answer.startswith(b"+"):
                raise ConnectionError(f"{question!r} was answered {answer!r}")
        self.socket.sendall(b"PSYNC ? -1\r\n")
        self.socket.setblocking(False)

    def receive(self, buffer: memoryview) -> None:
        """Read once; with TLS all that is there, as a record is not more than 16 KiB."""
        if not isinstance(self.socket, ssl.SSLSocket):
            self._read(buffer)
            return
        try:
            while True:
                self._read(buffer)
        except ssl.SSLWantReadError:
            return

    def _read(self, buffer: memoryview) -> None:
        size = self.socket.recv_into(buffer)
        arrived = time.monotonic_ns()
        if size == 0:
            raise ConnectionError("the server closed the connection")
        if self._streaming:
            self._stream(buffer[:size], arrived)
        elif self._left is not None or self._mark:
            self._snapshot(buffer[:size], arrived)
        else:
            self._lines += buffer[:size]
            self._headers(arrived)

    def acknowledge(self) -> None:
        """Send an ACK, if it is time for any."""
        if self._streaming:
            text = b"%d" % self.offset
            ack = b"*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$%d\r\n%s\r\n" % (len(text), text)
            self.socket.send(ack)

    def status(self) -> dict[str, Any]:
        """Return how far it is."""
        return {
            "offset": self.offset,
            "snapshot_bytes": self.snapshot_bytes,
            "attached_at": self.attached_at,
            "online_at": self.online_at,
            "checksum": self.checksum,
        }

    def _headers(self, arrived: int) -> None:
        while b"\n" in self._lines:
            line, _, rest = bytes(self._lines).partition(b"\n")
            self._lines[:] = rest
            line = line.rstrip()
            if line.startswith(b"+FULLRESYNC"):
                self.offset = int(line.split()[2])
            elif line.startswith(b"$"):
                if line.startswith(b"$EOF:"):
                    self._mark = line[5:]
                else:
                    self._left = int(line[1:])
                self._lines.clear()
                if rest:
                    self._snapshot(memoryview(rest), arrived)
                return
            elif line:
                raise ConnectionError(f"PSYNC was answered {line!r}")

    def _snapshot(self, data: memoryview, arrived: int) -> None:
        if self._check:
            self.checksum = zlib.crc32(data[: self._left], self.checksum)
        self.snapshot_bytes += len(data)
        if self._left is None:
            # Nothing follows the mark until the server has seen an ACK.
            self._tail = (self._tail + bytes(data[-len(self._mark) :]))[-len(self._mark) :]
            self._streaming = self._tail == self._mark
        else:
            rest = data[self._left :]
            self._left -= len(data) - len(rest)
            self._streaming = self._left == 0
            self.snapshot_bytes -= len(rest)
            if rest:
                self._stream(rest, arrived)
        if self._streaming:
            self.acknowledge()

    def _stream(self, data: memoryview, arrived: int) -> None:
        self.offset += len(data)
        if self._check:
            self.checksum = zlib.crc32(data, self.checksum)
        if self.online_at is None:
            self.online_at = arrived / 1e9
        if self._record:
            self.arrivals.append((arrived, bytes(data)))


class _Loop:
    """All replicas of this process, and its input."""

    def __init__(self) -> None:
        self._replicas: list[RawReplica] = []
        self._selector = selectors.DefaultSelector()
        self._selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._input = b""
        self._acked_at = 0.0
        self._ended = False

    def run(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select(_EAGER_ACK_SECONDS / 2):
                if key.data is None:
                    self._read_input()
                else:
                    key.data.receive(self._buffer)
            self._acknowledge()

    def _acknowledge(self) -> None:
        now = time.monotonic()
        eager = any(replica.online_at is None for replica in self._replicas)
        if now - self._acked_at >= (_EAGER_ACK_SECONDS if eager else _ACK_SECONDS):
            self._acked_at = now
            for replica in self._replicas:
                replica.acknowledge()

    def _read_input(self) -> None:
        data = os.read(sys.stdin.fileno(), 1 << 16)
        self._ended = not data
        *lines, self._input = (self._input + data).split(b"\n")
        for line in lines:
            name, *arguments = json.loads(line)
            print(json.dumps(self._answer(name, arguments)), flush=True)

    def _answer(self, name: str, arguments: list[Any]) -> object:
        if name == "attach":
            port, count, record, check, ca_file = arguments
            for _ in range(count):
                replica = RawReplica(port, record=record, check=check, ca_file=ca_file)
                self._replicas.append(replica)
                self._selector.register(replica.socket, selectors.EVENT_READ, replica)
        elif name == "arrivals":
            arrivals = self._replicas[arguments[0]].arrivals
            return [(at, data.decode("latin-1")) for at, data in arrivals]
        return [replica.status() for replica in self._replicas]


if __name__ == "__main__":
    _Loop().run()
