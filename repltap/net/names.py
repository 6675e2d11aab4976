"""Connecting by name, without the threads that the disk needs.

asyncio looks names up in the threads of `asyncio.to_thread`: six on two cores, which sync the
journal, too. A name server that is away holds a thread for twenty seconds and more, also when
nobody waits any longer, and who tries again takes the next one. So names have threads of their own,
one for each name at most, and none that the end of the process waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from repltap.threads import in_thread, outcome

MAX_LOOKUPS = 32
"""At once: sixteen sentinels, and the master under two names or three."""

_Address = tuple[Any, ...]  # of any family
Found = Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, _Address]]

_under_way: dict[tuple[str, int], Future[Found]] = {}


async def open_socket(host: str, port: int) -> socket.socket:
    """Connect to the first address of a name that lets us; cancelling is safe.

    Args:
        host: A name or an address.
        port: 1 to 65535.

    Returns:
        The socket, non-blocking.

    Raises:
        OSError: The name is not known, or none of its addresses can be reached.
        UnicodeError: It can't be a name.
    """
    loop = asyncio.get_running_loop()
    failure = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    for family, kind, proto, _, address in await look_up(host, port):
        try:
            sock = socket.socket(family, kind, proto)
        except OSError as exc:  # no IPv6 here
            failure = exc
            continue
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, address)
        except OSError as exc:
            sock.close()
            failure = exc
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure


async def look_up(host: str, port: int) -> Found:
    """Find the addresses of a name; cancelling is safe, and the thread goes on.

    Raises:
        OSError: It is not known, or too many are looked up.
        UnicodeError: It can't be a name.
    """
    with contextlib.suppress(socket.gaierror):  # an address is no work
        return _ask(host, port, socket.AI_NUMERICHOST)
    return await outcome(_begin(host, port))


def _begin(host: str, port: int) -> Future[Found]:
    found = _under_way.get((host, port))
    if found is None:
        if len(_under_way) >= MAX_LOOKUPS:
            raise OSError(errno.EAGAIN, "too many names are being looked up")
        found = in_thread("look up a name", lambda: _ask(host, port))
        _under_way[host, port] = found
        found.add_done_callback(lambda _: _under_way.pop((host, port), None))
    return found


def _ask(host: str, port: int, flags: int = 0) -> Found:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
