"""The monitor process as the relay sees it: started, told, heard, on the event loop.

Of its output the relay reads no more in one turn than it is told to: who copies it to many clients
says a small number, so that replicas never wait long for their turn.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Protocol, cast

from repltap.delivery.channel import LineEnd
from repltap.delivery.messages import MessageError
from repltap.delivery.monitor.messages import Frames, Kind, mark_of, order
from repltap.delivery.worker_process import ChildProcess, environment

MODULE = "repltap.delivery.monitor.worker"

_BUFFER_BYTES = 256 << 10
_MAX_UNREAD_BYTES = 1 << 20
"""Ten thousand marks; a process that does not take them is stuck."""

log = logging.getLogger("repltap.monitor")


class LineHearer(Protocol):
    """Who is told what the process says."""

    @property
    def turn_bytes(self) -> int:
        """How much may be read in one turn of the event loop."""

    def shown(self, lines: bytes, number: int, offset: int) -> None:
        """Whole lines, and the place behind them."""

    def marked(self, mark: int) -> None:
        """All that came in before a mark has been shown."""

    def failed(self, reason: str) -> None:
        """Nothing will be shown any more."""


class MonitorChannel(asyncio.BufferedProtocol, LineEnd):
    """The relay's end of the line.

    Args:
        hearer: Told of everything.
    """

    def __init__(self, hearer: LineHearer) -> None:
        self._hearer = hearer
        self._transport: asyncio.Transport | None = None
        self._frames = Frames()
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))

    def start(self, data_dir: Path, place: tuple[int, int] | None, level: str) -> None:
        """Tell the process where to begin."""
        self._send(order("start", data_dir=str(data_dir.absolute()), place=place, level=level))

    def mark(self, mark: int, place: tuple[int, int]) -> None:
        """Ask to be told when this place is passed."""
        self._send(order("mark", id=mark, place=place))

    def address(self, address: str) -> None:
        """Say what lines show as the address of the master."""
        self._send(order("address", address=address))

    def close(self) -> None:
        """End the line, which ends the process."""
        if self._transport is not None:
            self._transport.abort()

    # -- what asyncio calls ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Give as much room as may be read now."""
        return self._buffer[: max(1, self._hearer.turn_bytes)]

    def buffer_updated(self, size: int) -> None:
        """Take what the process says."""
        try:
            for frame in self._frames.receive(self._buffer[:size]):
                if frame.kind is Kind.LINES:
                    self._hearer.shown(frame.payload, frame.number, frame.offset)
                elif frame.kind is Kind.MARK:
                    self._hearer.marked(mark_of(frame))
                else:
                    self._hearer.failed(frame.payload.decode("utf-8", "replace"))
        except MessageError as exc:
            log.error("the monitor process said %s", exc)
            self.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Nothing: the process ends by itself."""
        self._transport = None

    def _send(self, line: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() > _MAX_UNREAD_BYTES:
            log.error("the monitor process does not take what it is told")
            self.close()
            return
        transport.write(line)


class MonitorProcess(ChildProcess[MonitorChannel]):
    """The process; one at a time is enough for any number of clients."""

    @classmethod
    async def start(
        cls, hearer: LineHearer, data_dir: Path, place: tuple[int, int] | None, level: str
    ) -> MonitorProcess:
        """Start it.

        Args:
            hearer: Told of what it says.
            data_dir: Where the store is.
            place: Where to begin, a history's number and an offset; None for whatever comes.
            level: What it logs.

        Raises:
            OSError: It can't be started.
        """
        process = await cls.launch(
            MODULE, (), environment(os.environ), lambda: MonitorChannel(hearer), log
        )
        process.channel.start(data_dir, place, level)
        return process
