"""The clients that monitor: which are there, and copying to them what the monitor process shows.

Nothing is done here for each command: whole chunks, made of lines elsewhere, are copied. A client
that does not take them is disconnected; it never delays the process, the others, or a replica.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from repltap.endings import DisconnectReason
from repltap.feed import Feed
from repltap.net.admin.context import ClientState
from repltap.net.connection import Connection
from repltap.reasons import os_reason

log = logging.getLogger("repltap.monitor")

MAX_MONITORS = 100
"""Each costs a copy of all that is shown, in the process that serves the replicas."""

CLIENT_BUFFER_BYTES = 8 << 20
"""Redis's `client-output-buffer-limit normal` has no limit; here memory is never for those who
don't read. This is some hundred thousand short commands."""

TOTAL_BUFFER_BYTES = 64 << 20
"""Of all together: with more, who has the most waiting has to go."""

_TURN_BYTES = 256 << 10
"""What is taken in one turn of the event loop, divided by those to whom it is copied, so that
replicas don't wait long. A frame is copied whole when its end has come: with a hundred clients one
of 32 KiB takes a millisecond, one of a megabyte 50 to 250."""

_LEAST_BYTES = 4 << 10
_IDLE_SECONDS = 10.0
"""To start the process is half a second's work: it waits so long for the next client."""

_LOOK_SECONDS = 1.0
_BACKOFF_SECONDS = 0.25
_ATTEMPTS = 5
"""A process that ends so often without showing anything will not do so the next time."""

Place = tuple[int, int]
"""The number of a history, and an offset there."""

_ANYWHERE: Place = (0, 0)


class MonitorClient(Protocol):
    """A connection that can monitor: a `Session`."""

    id: int
    state: ClientState
    connection: Connection

    def drop(self, reason: DisconnectReason, detail: str) -> None:
        """Disconnect it."""


class MonitorChannel(Protocol):
    """What the monitor process is told."""

    def mark(self, mark: int, place: Place) -> None:
        """Say when all before a place has been shown."""

    def address(self, address: str) -> None:
        """Show this as the master's address."""

    def close(self) -> None:
        """End the line."""


class MonitorProcess(Protocol):
    """The process that makes lines of the stream."""

    @property
    def channel(self) -> MonitorChannel:
        """The line to it."""

    async def ended(self) -> str:
        """Wait for its end, "" for none that is remarkable; cancelling kills it."""


Launch = Callable[["Monitors", Place | None], Awaitable[MonitorProcess]]
"""Starts the process, which is to begin at a place; raises OSError."""


async def _no_process(_monitors: Monitors, _place: Place | None) -> MonitorProcess:
    raise OSError("there is no monitor process")


class Monitors:
    """Keeps the monitor process running while somebody monitors.

    Args:
        feed: Where the journal is.
        launch: Starts the process.
        address: Gives the master's address.
    """

    def __init__(
        self, feed: Feed, launch: Launch = _no_process, address: Callable[[], str] = str
    ) -> None:
        self._feed = feed
        self._launch = launch
        self._address = address
        self._live: dict[int, MonitorClient] = {}  # those that are shown lines, by id
        self._marks: dict[int, tuple[Place, list[MonitorClient]]] = {}  # those that wait for theirs
        self._next_mark = 1
        self._wanted = asyncio.Event()
        self._running = False
        self._place: Place | None = None  # where the process, or the next one, goes on
        self._channel: MonitorChannel | None = None
        self._shown_address = ""
        self._failures = 0
        self._idle_since: float | None = None
        # A failover or a full sync: what follows is another master's, as a rule.
        feed.listen(self._tell_address)

    @property
    def count(self) -> int:
        """How many clients monitor."""
        return len(self._live) + sum(len(clients) for _, clients in self._marks.values())

    # -- what the port calls ---------------------------------------------------------------------

    def begin(self, client: MonitorClient) -> None:
        """Show a client what comes in from now on."""
        place = self._now()
        newest = self._marks.get(self._next_mark - 1)
        if newest is not None and newest[0] == place:
            newest[1].append(client)
            return
        mark = self._next_mark
        self._next_mark += 1
        self._marks[mark] = (place, [client])
        if self._channel is not None:
            self._channel.mark(mark, place)
        elif not self._running:
            self._running = True
            self._place = None if place == _ANYWHERE else place
            self._wanted.set()

    def end(self, client: MonitorClient) -> None:
        """Show a client nothing more; whether it monitors or not."""
        client.state.monitoring = False
        self._live.pop(client.id, None)
        for mark, (_, clients) in list(self._marks.items()):
            if client in clients:
                clients.remove(client)
                if not clients:
                    del self._marks[mark]

    async def run(self) -> None:
        """Keep the process running while it is wanted, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._serve()
            finally:
                self._running = False
            if self.count:  # somebody came just then
                self._running = True
                self._wanted.set()

    # -- what the process says -------------------------------------------------------------------

    @property
    def turn_bytes(self) -> int:
        """How much of the process's output may be read in one turn."""
        return max(_LEAST_BYTES, _TURN_BYTES // max(1, len(self._live)))

    def shown(self, lines: bytes, number: int, offset: int) -> None:
        """Copy whole lines to everybody who monitors."""
        self._failures = 0
        self._place = (number, offset)
        waiting = sum(map(_unsent, self._live.values()))
        for client in list(self._live.values()):
            if client.state.close_after_reply or client.id not in self._live:
                continue
            output = client.connection
            waiting -= output.unsent_bytes
            output.write(lines)
            output.flush()
            waiting += output.unsent_bytes
            if output.unsent_bytes > CLIENT_BUFFER_BYTES:
                waiting -= output.unsent_bytes
                self._drop(client, "it")
            # Before the next copy: a line can be a megabyte, and a hundred of those are too many.
            while waiting > TOTAL_BUFFER_BYTES and self._live:
                slowest = max(self._live.values(), key=_unsent)
                waiting -= _unsent(slowest)
                self._drop(slowest, "with the other monitors it")

    def marked(self, mark: int) -> None:
        """Begin to show lines to who has waited for this mark."""
        _, clients = self._marks.pop(mark, (_ANYWHERE, []))
        self._live.update((client.id, client) for client in clients)

    def failed(self, reason: str) -> None:
        """Disconnect everybody: they would miss something otherwise."""
        waiting = [client for _, clients in self._marks.values() for client in clients]
        self._marks.clear()
        # Who comes from now on must not be sent where it has just failed.
        now = self._now()
        self._place = None if now == _ANYWHERE else now
        for client in (*self._live.values(), *waiting):
            client.drop(DisconnectReason.MONITOR_FAILED, f"MONITOR {reason}")
        self._live.clear()

    # -- inside ----------------------------------------------------------------------------------

    def _now(self) -> Place:
        history = self._feed.history
        return _ANYWHERE if history is None else (history.number, history.journal.end)

    def _drop(self, client: MonitorClient, who: str) -> None:
        client.drop(
            DisconnectReason.OUTPUT_LIMIT,
            f"too slow for MONITOR: {who} had {client.connection.unsent_bytes} bytes waiting",
        )
        self._live.pop(client.id, None)

    async def _serve(self) -> None:
        """Run the process, again and again where it fails, until nobody has monitored for long."""
        self._failures, self._idle_since = 0, None
        while not self._idle():
            try:
                process = await self._launch(self, self._place)
            except OSError as failure:
                ended = f"it can't be started: {os_reason(failure)}"
            else:
                ended = await self._attend(process)
            if not self.count:
                return
            if ended:
                self._failures += 1
                log.warning("the monitor process: %s", ended)
                if self._failures >= _ATTEMPTS:
                    self.failed(f"has failed {_ATTEMPTS} times in a row; the relay's log says why")
                    return  # who comes now begins anew, and does not wait twice as long each time
                await asyncio.sleep(_BACKOFF_SECONDS * 2**self._failures)

    async def _attend(self, process: MonitorProcess) -> str:
        """Look after a process until it ends, or is wanted no longer.

        Returns:
            How it ended; "" where nothing is wrong.
        """
        channel = self._channel = process.channel
        self._shown_address = ""
        for mark, (place, _) in self._marks.items():
            channel.mark(mark, place)
        try:
            async with asyncio.TaskGroup() as group:
                ended = group.create_task(process.ended())
                while not ended.done() and not self._idle():
                    self._tell_address()
                    await asyncio.wait([ended], timeout=_LOOK_SECONDS)
                if ended.done():
                    return ended.result() or ("" if not self.count else "it has ended by itself")
                ended.cancel()
        finally:
            self._channel = None
        return ""

    def _tell_address(self) -> None:
        if self._channel is not None and self._shown_address != (address := self._address()):
            self._channel.address(address)
            self._shown_address = address

    def _idle(self) -> bool:
        """Tell whether nobody has monitored for long."""
        now = asyncio.get_running_loop().time()
        if self.count:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        return self._idle_since is not None and now - self._idle_since >= _IDLE_SECONDS


def _unsent(client: MonitorClient) -> int:
    return client.connection.unsent_bytes
