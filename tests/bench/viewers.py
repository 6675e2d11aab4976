"""Clients that monitor: sockets that read and discard, in a process of their own.

`python -m tests.bench.viewers PORT COUNT MARK` prints `ready` when all are answered, and `seen`
each time that all have been shown a line with MARK. It ends with its input.
"""

from __future__ import annotations

import selectors
import socket
import subprocess
import sys
from types import TracebackType

from tests.servers.relay import REPOSITORY

MARK = "the-end-of-a-run"
_READ_BYTES = 1 << 20


class Viewers:
    """So many clients of a node; for a `with` block."""

    def __init__(self, port: int, count: int) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.viewers", str(port), str(count), MARK],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        self.expect("ready")

    def __enter__(self) -> Viewers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._child.kill()
        self._child.wait(10)
        for pipe in (self._child.stdin, self._child.stdout):
            assert pipe is not None
            pipe.close()

    def expect(self, word: str) -> None:
        """Wait until they say this."""
        assert self._child.stdout is not None
        said = self._child.stdout.readline().strip()
        assert said == word, f"the viewers said {said!r}, not {word!r}"


def main(port: int, count: int, mark: bytes) -> None:
    """Read until the input ends."""
    selector = selectors.DefaultSelector()
    tails: dict[socket.socket, bytes] = {}
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", port), 30)
        sock.sendall(b"MONITOR\r\n")
        assert sock.recv(5, socket.MSG_WAITALL) == b"+OK\r\n"
        selector.register(sock, selectors.EVENT_READ)
        tails[sock] = b""
    selector.register(sys.stdin, selectors.EVENT_READ)
    print("ready", flush=True)
    seen: set[socket.socket] = set()
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                return
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            data = sock.recv(_READ_BYTES)
            if not data:
                raise SystemExit("a viewer was disconnected")
            if mark in tails[sock] + data:
                seen.add(sock)
            tails[sock] = data[-len(mark) :]
        if len(seen) == count:
            seen.clear()
            print("seen", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode())
