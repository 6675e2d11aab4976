"""A client that monitors: what it is shown, line by line."""

from __future__ import annotations

import re
import socket
import ssl
import time

from tests.servers.certificates import Pair
from tests.servers.waiting import PATIENCE_SECONDS

_LINE = re.compile(rb"\+(\d+)\.(\d{6}) \[(\d+) ([^\]]+)\] (.*)\r\n", re.DOTALL)


class Monitor:
    """One connection on which MONITOR was sent, and answered.

    Args:
        port: Of the server.
        receive_bytes: The socket's receive buffer, 0 for what is usual.
        before: What to send before, such as `HELLO 3`.
        pair: Talk TLS, and show this.
    """

    def __init__(
        self, port: int, *, receive_bytes: int = 0, before: bytes = b"", pair: Pair | None = None
    ) -> None:
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(PATIENCE_SECONDS)
        self.socket.connect(("127.0.0.1", port))
        if pair is not None:
            context = ssl.create_default_context(cafile=str(pair.ca_file))
            context.load_cert_chain(pair.cert_file, pair.key_file)
            self.socket = context.wrap_socket(self.socket, server_hostname="127.0.0.1")
        self.stream = self.socket.makefile("rb")
        self.socket.sendall(before + b"MONITOR\r\n")
        while (line := self.stream.readline()) != b"+OK\r\n":
            assert line, "closed before MONITOR was answered"

    def line(self) -> tuple[float, str, str]:
        """Read a line: its time, `db address`, and the command as it is shown."""
        raw = self.stream.readline()
        match = _LINE.fullmatch(raw)
        assert match, f"no line of MONITOR: {raw!r}"
        seconds, micros, db, address, command = match.groups()
        return (
            int(seconds) + int(micros) / 1e6,
            f"{db.decode()} {address.decode()}",
            command.decode("ascii"),
        )

    def until(self, last: str) -> list[str]:
        """Read up to the line whose command has this; PINGs, which come by time, are left out."""
        found = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            at, whom, command = self.line()
            assert abs(at - time.time()) < 60
            if command.upper() != '"PING"':
                found.append(f"[{whom}] {command}")
            if last in command:
                return found
            assert time.monotonic() < deadline, f"{last} was not shown; last: {command}"

    def close(self) -> None:
        """Hang up."""
        self.stream.close()
        self.socket.close()
