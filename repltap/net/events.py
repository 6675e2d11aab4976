"""`/api/events`: what happened, as server-sent events, with a bounded memory.

Looks at the relay twice a second, whoever listens: the code of the stream knows nothing of it. Each
client reads the one history at its own pace, so a slow one holds nothing; one that takes nothing at
all is dropped.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict
from enum import Enum

import orjson
from aiohttp import web

from repltap.net.changes import Event, changes, started
from repltap.status.relay import RelayStatus
from repltap.tasks import OwnedTasks, wait_at_most

log = logging.getLogger("repltap.http")

REMEMBERED = 512
"""Events: hours of a quiet relay, and about 100 KB."""

MAX_CLIENTS = 16
"""Half of the connections that the HTTP port has: the other half is for who asks and goes."""

_LOOK_SECONDS = 0.5
"""How late an event may be; a look takes a fraction of a millisecond."""

_KEEPALIVE_SECONDS = 15.0
"""Below the idle time-outs of usual reverse proxies (30 and 60 s)."""

_SLOW_SECONDS = 10.0
"""A client that takes nothing of 64 KiB for that long is gone, or as good as gone."""

_RETRY_MS = 1000
"""When a browser is to come back after the connection broke."""


class EventFeed:
    """The events of one relay, and those who listen.

    Args:
        status: Looks at the relay.
        slow_seconds: How long a client may take nothing of what it is sent.
    """

    def __init__(
        self, status: Callable[[], RelayStatus], slow_seconds: float = _SLOW_SECONDS
    ) -> None:
        self._status = status
        self._slow_seconds = slow_seconds
        self._history: deque[tuple[int, Event]] = deque(maxlen=REMEMBERED)
        self._last = 0  # the number of the newest; the first is 1
        self._run = ""  # makes the ids of two runs of a relay different
        self._wakes: set[asyncio.Event] = set()
        self._closed = False
        self._tasks = OwnedTasks(self._failed)

    def open(self) -> None:
        """Begin to look; the running loop keeps it."""
        self._tasks.spawn("http events", self._look())

    async def close(self) -> None:
        """End all streams, and look no longer."""
        self._end_streams()
        await self._tasks.cancel()

    @property
    def clients(self) -> int:
        """How many listen."""
        return len(self._wakes)

    def add(self, events: Iterable[Event]) -> None:
        """Remember events and tell them to who listens."""
        for event in events:
            self._last += 1
            self._history.append((self._last, event))
        for wake in self._wakes:
            wake.set()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Answer one client until it goes, the relay stops, or it takes nothing."""
        if self._closed or len(self._wakes) >= MAX_CLIENTS:
            why = "stopping" if self._closed else f"{MAX_CLIENTS} clients are listening already"
            return web.json_response({"error": why}, status=503, headers={"Retry-After": "10"})
        wake = asyncio.Event()
        self._wakes.add(wake)  # before anything is awaited: the limit holds for those who come now
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",  # nginx would keep events back
            }
        )
        try:
            async with asyncio.timeout(self._slow_seconds):
                await response.prepare(request)
            await self._tell(response, wake, request.headers.get("Last-Event-ID", ""))
        except TimeoutError:
            log.info("%s takes no events: disconnected", request.remote)
            if request.transport is not None:
                request.transport.abort()
        except ConnectionError:
            pass  # it is gone
        finally:
            self._wakes.discard(wake)
        return response

    # -- inside ----------------------------------------------------------------------------------

    async def _tell(self, response: web.StreamResponse, wake: asyncio.Event, seen: str) -> None:
        position = self._position(seen)
        chunk = b"retry: %d\n\n" % _RETRY_MS
        while not self._closed:
            wake.clear()
            chunk += self._since(position)
            position = self._last
            if chunk:
                async with asyncio.timeout(self._slow_seconds):
                    await response.write(chunk)
            # What came while it was written has set `wake`.
            woken = await wait_at_most(wake, _KEEPALIVE_SECONDS)
            chunk = b"" if woken else b": keepalive\n\n"

    def _position(self, seen: str) -> int:
        """Give the number of the last event that a client has; 0 for one of another run."""
        run, _, number = seen.rpartition("-")
        if run != self._run or not number.isascii() or not number.isdigit() or len(number) > 15:
            return 0
        return min(int(number), self._last)

    def _since(self, position: int) -> bytes:
        return b"".join(
            b"id: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps({"id": name, **_plain(event)}))
            for number, event in self._history
            if number > position and (name := f"{self._run}-{number}")
        )

    async def _look(self) -> None:
        before = self._status()
        self._run = before.run_id[:8]
        self.add([started(before)])
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            after = self._status()
            if found := changes(before, after):
                self.add(found)
            before = after

    def _failed(self, failure: BaseException) -> None:
        # A page that tells less must not end a relay that works.
        log.error("no more events are told on the HTTP port", exc_info=failure)
        self._end_streams()

    def _end_streams(self) -> None:
        self._closed = True
        for wake in self._wakes:
            wake.set()


def _plain(event: Event) -> dict[str, object]:
    return asdict(
        event,
        dict_factory=lambda pairs: {
            name: value.value if isinstance(value, Enum) else value for name, value in pairs
        },
    )
