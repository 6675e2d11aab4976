"""A connection to a server that is asked for INFO, beside the link: one question at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from repltap.config import UpstreamConfig
from repltap.errors import ReplTapError, UpstreamError
from repltap.net.connect import open_stream, settings_of
from repltap.protocol.master_offset import MasterOffset, MasterOffsetQuery, Unanswered
from repltap.reasons import os_reason

_READ_BYTES = 1 << 16


class InfoConnection:
    """From `open_info`.

    Args:
        config: How to log in.
        reader, writer: The connection.
        who: Whom errors name: "the master".
    """

    def __init__(
        self,
        config: UpstreamConfig,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        who: str,
    ) -> None:
        self._query = MasterOffsetQuery(settings_of(config, 0, announce_version=None))
        self._reader, self._writer = reader, writer
        self._who = who

    async def ask(self, seconds: float) -> MasterOffset | Unanswered:
        """Ask once. When this fails, or is cancelled, the connection is of no more use.

        Args:
            seconds: How long the answer may take.

        Raises:
            UpstreamError: It closed the connection, or was silent for too long.
            RemoteProtocolError: It answered something else.
        """
        try:
            async with asyncio.timeout(seconds):
                self._writer.write(self._query.ask())
                while True:
                    data = await self._reader.read(_READ_BYTES)
                    if not data:
                        raise UpstreamError(f"{self._who} closed the connection that asks for INFO")
                    if (found := self._query.receive_data(data)) is not None:
                        return found
        except TimeoutError as failure:
            raise UpstreamError(
                f"{self._who} did not answer INFO within {seconds:g} s"
            ) from failure
        except OSError as failure:
            raise UpstreamError(f"connection lost: {os_reason(failure)}") from failure


@contextlib.asynccontextmanager
async def open_info(config: UpstreamConfig, who: str) -> AsyncIterator[InfoConnection]:
    """Open a connection for questions; it is gone, whatever was left unsaid, at the end.

    Args:
        config: The server, and how to talk to it.
        who: As errors call it: "the master".

    Raises:
        UpstreamError: It can't be reached.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    try:
        transport = await open_stream(lambda: protocol, config)
    except ReplTapError as failure:
        raise UpstreamError(f"no connection for INFO: {failure}") from failure
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    try:
        yield InfoConnection(config, reader, writer, who)
    finally:
        transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
