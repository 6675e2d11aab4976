"""Clients that monitor: sockets that read and discard, in a process of their own.

`python -m tests.bench.viewers PORT COUNT MARK` prints `ready` when all are answered, and `seen`
each time that all have been shown a line with MARK. It ends with its input.
"""

from __future__ import annotations

import selectors
import socket
import sys

from tests.bench.child import Child

MARK = "the-end-of-a-run"
_READ_BYTES = 1 << 20


class Viewers(Child):
    """So many clients of a node; for a `with` block."""

    def __init__(self, port: int, count: int) -> None:
        super().__init__("tests.bench.viewers", port, count, MARK)
        self.expect("ready")

    def expect(self, word: str) -> None:
        """Wait until they say this."""
        said = self.hear().strip()
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
