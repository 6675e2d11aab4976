"""Loopback ports for servers that are killed and started again on the same port."""

from __future__ import annotations

import os
import random
import socket
import threading

# Below the kernel's ephemeral range: while a server is down, a client that retries its port must
# not be given that very port as its own (a TCP self-connect on loopback), nor anyone else.
_LOWEST, _HIGHEST = 20_000, 32_000
# Tests that run side by side take theirs from ranges of their own.
_PROCESSES = 8
_process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PROCESSES
_SPAN = (_HIGHEST - _LOWEST) // _PROCESSES
_first = _LOWEST + _process * _SPAN
_taken: set[int] = set()
_lock = threading.Lock()


def free_port() -> int:
    """Return a loopback port that nobody listens on and that is not handed out twice."""
    with _lock:
        while True:
            port = random.SystemRandom().randrange(_first, _first + _SPAN)
            if port not in _taken and is_free(port):
                _taken.add(port)
                return port


def is_free(port: int) -> bool:
    """Tell whether nobody listens on a loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def own_address() -> str:
    """Return an address of this machine that is not loopback, "" where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent: it only chooses a route
        except OSError:
            return ""
        host = str(probe.getsockname()[0])
    return "" if host.startswith("127.") else host
