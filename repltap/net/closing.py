"""Closing a server of asyncio without losing who was just let in."""

from __future__ import annotations

import asyncio


async def close_server(server: asyncio.Server) -> None:
    """Stop listening; connections there are stay open, and belong to their protocols.

    A connection that was accepted, but has no transport yet when its server is closed, fails to
    attach to it (`Server._attach`), and nobody closes its socket: it would stay open until it is
    collected. So nobody is let in any more a turn before the server is closed.

    Args:
        server: Of `create_server` or `start_server`; closed already does no harm.
    """
    loop = asyncio.get_running_loop()
    for sock in server.sockets:
        loop.remove_reader(sock.fileno())
    await asyncio.sleep(0)  # the last one gets its transport
    server.close()
