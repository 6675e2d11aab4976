"""A tunnel that puts TLS around a connection, or takes it off, as stunnel does.

For servers whose build has no TLS: the relay talks TLS to the tunnel, the server plain text.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from contextlib import suppress

from repltap.net.closing import close_server
from tests.servers.certificates import Pair
from tests.servers.ports import free_port
from tests.servers.waiting import PATIENCE_SECONDS

_READ_BYTES = 1 << 16
_LAST_TURNS = 20


class Tunnel:
    """Listens on `port` and passes everything on to `target_port`, until it is closed.

    Args:
        target_port: On 127.0.0.1.
        pair: What it shows; the other side needs one of the same authority, too.
        outward: It is connected to without TLS and connects with it; else the other way.
    """

    def __init__(self, target_port: int, pair: Pair, *, outward: bool) -> None:
        self.port = free_port()
        self._target_port = target_port
        self._accepts = None if outward else _context(pair, ssl.PROTOCOL_TLS_SERVER)
        self._connects = _context(pair, ssl.PROTOCOL_TLS_CLIENT) if outward else None
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._closed = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="tunnel", daemon=True)
        self._thread.start()
        assert self._listening.wait(PATIENCE_SECONDS), "the tunnel does not listen"

    def close(self) -> None:
        """Stop listening and cut what is connected."""
        with suppress(RuntimeError):  # closed already
            self._loop.call_soon_threadsafe(self._closed.set)
        self._thread.join(10)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                with suppress(OSError):
                    await self._pass_on(reader, writer)
            finally:  # also where the tunnel is closed meanwhile
                writer.transport.abort()

        # What can't shake hands is the test's matter, not the log's.
        self._loop.set_exception_handler(lambda *_: None)
        server = await asyncio.start_server(take, "127.0.0.1", self.port, ssl=self._accepts)
        self._listening.set()
        await self._closed.wait()
        await close_server(server)
        # Who is shaking hands is known to nobody else (`Server.abort_clients` is Python 3.13's);
        # who was being accepted comes a turn later.
        for _ in range(_LAST_TURNS):
            for transport in list(self._loop._transports.values()):  # type: ignore[attr-defined]
                transport.abort()
            await asyncio.sleep(0)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = "127.0.0.1" if self._connects else None
        onward, away = await asyncio.open_connection(
            "127.0.0.1", self._target_port, ssl=self._connects, server_hostname=name
        )
        both = [
            self._loop.create_task(_copy(reader, away)),
            self._loop.create_task(_copy(onward, writer)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            away.transport.abort()
            for task in both:
                task.cancel()
            await asyncio.wait(both)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_READ_BYTES):
            writer.write(data)
            await writer.drain()


def _context(pair: Pair, protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.load_cert_chain(pair.cert_file, pair.key_file)
    context.load_verify_locations(pair.ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    return context
