"""What is written to the master: a fixed stream at full speed, paced writes, a heartbeat."""

from __future__ import annotations

import random
import socket
import threading
import time
from types import TracebackType

from tests.servers.client import Client
from tests.servers.node import Node

VALUE_BYTES = 64
_OK = len(b"+OK\r\n")
# 100 000 keys: more than a CPU cache holds, so that a server that applies them pays for it.
_BLOCKS, _BLOCK_WRITES = 100, 1_000
# Unanswered blocks: enough to keep the master busy, few enough that it buffers little.
_WINDOW = 8


def set_command(key: str, value: bytes) -> bytes:
    """Return a SET as a client and a master send it."""
    name = key.encode()
    return b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (len(name), name, len(value), value)


def write_stream(port: int, writes: int, timeout_seconds: float) -> None:
    """Write SETs of 64-byte values, pipelined, as fast as the master takes them.

    Args:
        writes: How many; a multiple of 1000.
        timeout_seconds: For each wait on the socket.
    """
    rng = random.Random(1)
    blocks = [
        b"".join(
            set_command(f"key:{number * _BLOCK_WRITES + i:08}", rng.randbytes(32).hex().encode())
            for i in range(_BLOCK_WRITES)
        )
        for number in range(min(_BLOCKS, writes // _BLOCK_WRITES))
    ]
    with socket.create_connection(("127.0.0.1", port), timeout_seconds) as sock:
        unanswered = 0
        for number in range(writes // _BLOCK_WRITES):
            sock.sendall(blocks[number % len(blocks)])
            unanswered += _OK * _BLOCK_WRITES
            while unanswered > _WINDOW * _OK * _BLOCK_WRITES:
                unanswered -= _read(sock)
        while unanswered:
            unanswered -= _read(sock)


def _read(sock: socket.socket) -> int:
    data = sock.recv(1 << 16)
    assert data.startswith((b"+", b"O", b"K", b"\r", b"\n")), f"the master answered {data!r:.200}"
    return len(data)


def write_paced(port: int, count: int, per_second: int) -> None:
    """Write numbered SETs (`seq:00000042`), one at a time, at an even pace."""
    value = b"v" * VALUE_BYTES
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start = time.monotonic()
        for number in range(count):
            delay = start + number / per_second - time.monotonic()
            if delay > 0:
                time.sleep(delay)
            sock.sendall(set_command(f"seq:{number:08}", value))
            try:
                sock.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                pass
        # Only an answered connection may be closed: a reset would cost the last writes.
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1 << 16):
            pass


class Heartbeat:
    """Writes now and then in a thread, so that a stream flows; for a `with` block."""

    def __init__(self, node: Node, pause_seconds: float = 0.02) -> None:
        self._client: Client = node.client()
        self._pause_seconds = pause_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join(30)
        self._client.close()

    def _run(self) -> None:
        while not self._stopping.wait(self._pause_seconds):
            self._client.call("INCR", "heartbeat")
