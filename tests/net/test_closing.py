"""Closing a server while somebody is being let in."""

import asyncio
import socket
from dataclasses import dataclass, field

import pytest

from repltap.net.closing import close_server


@dataclass
class Seen:
    """How many protocols were made, and the transports that they got."""

    made: int = 0
    begun: list[asyncio.BaseTransport] = field(default_factory=list)


class Connection(asyncio.Protocol):
    """Tells what it sees."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        seen.made += 1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._seen.begun.append(transport)


@pytest.mark.parametrize("turns", range(6))
async def test_who_was_accepted_gets_a_transport(turns: int) -> None:
    """In whichever turn of the loop it is closed: each protocol can close its own connection."""
    seen = Seen()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(seen), "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()):
        for _ in range(turns):
            await asyncio.sleep(0)
        await close_server(server)
        for _ in range(6):
            await asyncio.sleep(0)
        assert len(seen.begun) == seen.made
        for transport in seen.begun:
            transport.close()
        await asyncio.sleep(0)
    await close_server(server)
    assert not server.is_serving()
