"""Loopback ports for servers that are killed and started again on the same port."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Below the kernel's ephemeral range: while a server is down, a client that retries its port must
# not be given that very port as its own (a TCP self-connect on loopback), nor anyone else.
_LOWEST = 18_000
_SPAN = 600
"""Ports of one process; they come round again when all were given, so those of servers that are
long gone only."""
_PROCESSES = 24
"""Processes that may run tests at once on this machine, each with ports of its own: a replica must
never find somebody else's server where its master was."""


class _Ports:
    """The ports of this process; safe to use from threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._own = range(0)
        self._given = random.SystemRandom().randrange(_SPAN)

    def next(self) -> int:
        with self._lock:
            self._own = self._own or _claimed()
            for _ in self._own:
                port = self._own[self._given % _SPAN]
                self._given += 1
                if is_free(port):
                    return port
        raise RuntimeError(f"ports {self._own[0]} to {self._own[-1]} are all in use")


def free_port() -> int:
    """Return a loopback port that nobody listens on, and that was not given out lately.

    Raises:
        RuntimeError: None of this process's ports is free, or too many processes run tests.
    """
    return _ports.next()


def is_free(port: int) -> bool:
    """Tell whether nobody listens on a loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextmanager
def silent_port() -> Iterator[int]:
    """Keep a loopback port on which nobody listens, nor can while it is kept."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


def has_ipv6() -> bool:
    """Tell whether this machine has a loopback address of IPv6: many a container has none."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _claimed() -> range:
    """Claim a range that no other process of this machine has, until this process ends."""
    for number in range(_PROCESSES):
        path = Path(tempfile.gettempdir(), f"repltap-test-ports-{number}")
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except PermissionError:
            continue  # another user's
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # gone with the process
        except BlockingIOError:
            os.close(lock)
        else:
            return range(_LOWEST + number * _SPAN, _LOWEST + (number + 1) * _SPAN)
    raise RuntimeError(f"{_PROCESSES} processes run tests already: no ports are left")


def own_address() -> str:
    """Return an address of this machine that is not loopback, "" where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent: it only chooses a route
        except OSError:
            return ""
        host = str(probe.getsockname()[0])
    return "" if host.startswith("127.") else host


_ports = _Ports()
