"""How many snapshots are sent at once, and how fast.

Slots: who asks while all are taken waits in the order of asking, and is never refused. A throttle:
the bytes of snapshots, of each and of all together, are spread over time.

Only snapshots are limited, never the live stream: a stream that is slowed falls behind for ever,
and pins the journal while it does; a snapshot has an end.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

_STEP_SECONDS = 0.05
"""How often those who are out of tokens get more: often enough to look smooth to a replica and to
the network, seldom enough that a hundred of them cost a percent of a CPU."""

_BURST_SECONDS = 0.25
"""What may be made up for at once after the process was busy or nobody wanted tokens: a late timer
must not lose throughput, and an idle hour must not be paid out in one go."""


class Waiter(Protocol):
    """Who wants a slot."""

    @property
    def id(self) -> int:
        """Unique, rising in the order of connecting."""


_W = TypeVar("_W", bound=Waiter)


class TransferSlots(Generic[_W]):
    """At most so many at once; a queue for the others.

    Args:
        limit: How many.
        on_free: Called when a slot has become free and somebody is in the queue.

    Attributes:
        limit: As given.
    """

    def __init__(self, limit: int, on_free: Callable[[], None]) -> None:
        self.limit = limit
        self._on_free = on_free
        self._running: set[int] = set()
        self._queue: list[tuple[float, int, _W]] = []
        self._since: dict[int, float] = {}  # of those in the queue

    @property
    def running(self) -> int:
        """How many slots are taken."""
        return len(self._running)

    def admit(self, waiter: _W, since: float) -> bool:
        """Give a slot, or a place in the queue.

        Args:
            waiter: Who has none yet.
            since: When it asked: its place in the queue, whenever it comes back to it.

        Returns:
            Whether it has a slot now.
        """
        self.withdraw(waiter)
        place = (since, waiter.id, waiter)
        if bisect_left(self._queue, place[:2], key=_order) < self.limit - len(self._running):
            self._running.add(waiter.id)
            return True
        insort(self._queue, place, key=_order)
        self._since[waiter.id] = since
        return False

    def withdraw(self, waiter: _W) -> None:
        """Take it out of the queue, if it is there."""
        since = self._since.pop(waiter.id, None)
        if since is not None:
            del self._queue[bisect_left(self._queue, (since, waiter.id), key=_order)]

    def leave(self, waiter: _W) -> None:
        """Take its slot, or its place in the queue."""
        self.withdraw(waiter)
        if waiter.id in self._running:
            self._running.discard(waiter.id)
            if self._queue:
                self._on_free()

    def next(self) -> _W | None:
        """Give who should have the free slot, None when there is no slot or nobody."""
        free = len(self._running) < self.limit
        return self._queue[0][2] if free and self._queue else None

    def places(self) -> dict[int, int]:
        """Tell the places in the queue by id, the first is 1."""
        return {place[1]: number for number, place in enumerate(self._queue, 1)}


def _order(place: tuple[float, int] | tuple[float, int, object]) -> tuple[float, int]:
    return place[0], place[1]


class Timer(Protocol):
    """What `call_later` of an event loop gives."""

    def cancel(self) -> None:
        """Don't call."""


class Throttle:
    """Tokens, one a byte, for each transfer and for all together.

    Who has used up its tokens is woken when it has more, by one timer for all. Those who wait at
    that moment share what has come in meanwhile evenly; a transfer that waits for its socket
    instead takes no more than the share it got last.

    Args:
        transfer_rate: Bytes a second for each, None for no limit.
        total_rate: Bytes a second for all, None for no limit.
        clock: Seconds; never goes back.
        call_later: As an event loop's.
    """

    def __init__(
        self,
        transfer_rate: int | None,
        total_rate: int | None,
        clock: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], Timer],
    ) -> None:
        self._transfer_rate = transfer_rate
        self._total_rate = total_rate
        self._clock = clock
        self._call_later = call_later
        self._tokens = 0.0
        self._filled_at = clock()
        self._hungry: list[Pace] = []
        self._timer: Timer | None = None

    def open(self, wake: Callable[[], None]) -> Pace | None:
        """Begin a transfer.

        Args:
            wake: Called when it may go on.

        Returns:
            Its tokens, to be closed; None where nothing is limited.
        """
        if self._transfer_rate is None and self._total_rate is None:
            return None
        return Pace(self, self._transfer_rate, self._clock(), wake)

    def feed_later(self, pace: Pace) -> None:
        """Give it tokens, and wake it, at the next step."""
        self._hungry.append(pace)
        if self._timer is None:
            self._timer = self._call_later(_STEP_SECONDS, self._step)

    def forget(self, pace: Pace, unused_bytes: int) -> None:
        """It is closed."""
        self._tokens += unused_bytes
        if pace in self._hungry:
            self._hungry.remove(pace)
        if not self._hungry and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _step(self) -> None:
        self._timer = None
        now = self._clock()
        if self._total_rate is not None:
            come = (now - self._filled_at) * self._total_rate
            self._tokens = min(self._tokens + come, self._total_rate * _BURST_SECONDS)
        self._filled_at = now
        hungry, self._hungry = self._hungry, []
        # The shares first: a transfer that is woken may close another.
        fed = []
        for index, pace in enumerate(hungry):
            share = self._tokens / (len(hungry) - index)
            size = pace.feed(now, share if self._total_rate is not None else None)
            self._tokens -= size
            fed.append((pace, size))
        for pace, size in fed:
            if pace.closed:
                continue
            if size:
                pace.wake()
            else:
                self.feed_later(pace)


class Pace:
    """The tokens of one transfer.

    Attributes:
        wake: Called when there are some after there were none.
        closed: The transfer has ended.
    """

    def __init__(
        self, throttle: Throttle, rate: int | None, now: float, wake: Callable[[], None]
    ) -> None:
        self.wake = wake
        self.closed = False
        self._throttle = throttle
        self._rate = rate
        self._tokens = 0.0  # of its own rate
        self._filled_at = now
        self._allowed = 0  # bytes it may send, already taken off both
        self._waiting = False

    def take(self, wanted_bytes: int) -> int:
        """Take tokens.

        Returns:
            How many bytes may be sent, at most `wanted_bytes`; with 0 `wake` is called later.
        """
        taken = min(wanted_bytes, self._allowed)
        self._allowed -= taken
        if not taken and not self._waiting:
            self._waiting = True
            self._throttle.feed_later(self)
        return taken

    def give_back(self, unused_bytes: int) -> None:
        """Return what was taken and not sent."""
        self._allowed += unused_bytes

    def feed(self, now: float, share: float | None) -> int:
        """Receive tokens: at most `share`, None for no such limit; tells how many were taken."""
        size = share
        if self._rate is not None:
            come = (now - self._filled_at) * self._rate
            self._tokens = min(self._tokens + come, self._rate * _BURST_SECONDS)
            self._filled_at = now
            size = self._tokens if share is None else min(share, self._tokens)
        assert size is not None
        whole = int(size)
        if self._rate is not None:
            self._tokens -= whole
        self._allowed += whole
        self._waiting = not whole
        return whole

    def close(self) -> None:
        """End it; what was not used is for the others."""
        if not self.closed:
            self.closed = True
            self._throttle.forget(self, self._allowed)
