"""The relay's end of the line to a worker, on the event loop.

Whatever a worker does costs the relay no more than this: a line of a bounded length is read, and
so many a second; a worker that says more, or nonsense, is reported as faulty and heard no longer.
What is sent to it is a few bytes for each time that it asks; one that reads nothing blocks nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from repltap.delivery.messages import GREW, STOP, Lines, MessageError, Start, read_report
from repltap.delivery.report import WorkerReport

_MAX_MESSAGES = 500
"""A second. A worker waits and is woken some twenty times a second, and reports once."""

_MAX_BYTES = 8 << 20
"""A second: eight reports of the largest size."""

_MAX_UNREAD_BYTES = 64 << 10
"""Thousands of wake-ups. The start message, which may be larger, is not counted."""


class Hearer(Protocol):
    """Who is told what a worker says."""

    def reported(self, report: WorkerReport) -> None:
        """It has said how it is doing."""

    def waits(self) -> None:
        """It has read all it could, and is to be woken when there is more."""

    def wants_snapshot(self) -> None:
        """It needs a snapshot to be stored."""

    def faulty(self, reason: str) -> None:
        """It says what no worker says: it is to be ended."""


class LineEnd(asyncio.BaseProtocol):
    """This process's end of the line to a child."""

    def close(self) -> None:
        """End the line."""
        raise NotImplementedError


class WorkerChannel(asyncio.Protocol, LineEnd):
    """One worker's line.

    Args:
        hearer: Told of everything.
        clock: Seconds, monotonic.

    Attributes:
        waiting: It waits to be woken.
    """

    def __init__(self, hearer: Hearer, clock: Callable[[], float]) -> None:
        self.waiting = False
        self._hearer = hearer
        self._clock = clock
        self._transport: asyncio.Transport | None = None
        self._lines = Lines("say")
        self._second = 0.0  # when the second began in which these have come
        self._messages = 0
        self._bytes = 0
        self._start_bytes = 0

    def start(self, start: Start) -> None:
        """Send the start message."""
        line = start.as_line()
        self._start_bytes = len(line)
        self._send(line)

    def wake(self) -> None:
        """Tell the worker that there may be more to read, if it waits for that."""
        if self.waiting:
            self.waiting = False
            self._send(GREW)

    def stop(self) -> None:
        """Ask the worker to commit and end."""
        self._send(STOP)

    def close(self) -> None:
        """End the line; a worker that still runs takes that for the end of its relay."""
        if self._transport is not None:
            self._transport.abort()

    # -- what asyncio calls ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Take what the worker says."""
        now = self._clock()
        if now - self._second >= 1.0:
            self._second, self._messages, self._bytes = now, 0, 0
        self._bytes += len(data)
        try:
            if self._bytes > _MAX_BYTES:
                raise MessageError("more than a worker has to say")
            for message in self._lines.receive(data):
                self._messages += 1
                if self._messages > _MAX_MESSAGES:
                    raise MessageError("more often than a worker has something to say")
                self._take(message)
        except MessageError as exc:
            self.close()
            self._hearer.faulty(f"it said {exc}")

    def connection_lost(self, _exc: Exception | None) -> None:
        """Nothing: the process ends by itself, or is ended."""
        self._transport = None
        self.waiting = False

    def _take(self, message: dict[str, object]) -> None:
        kind = message["say"]
        if kind == "report":
            self._hearer.reported(read_report(message))
        elif kind == "wait":
            self.waiting = True
            self._hearer.waits()
        elif kind == "want_snapshot":
            self._hearer.wants_snapshot()
        else:
            raise MessageError(f"{kind!r:.50}")

    def _send(self, line: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() > _MAX_UNREAD_BYTES + self._start_bytes:
            self.close()
            self._hearer.faulty("it asks again and again, and reads no answer")
            return
        transport.write(line)
