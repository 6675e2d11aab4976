"""Telling waiting workers that the journal has grown: once its index covers what has come in.

A worker reads what the index covers, which grows every 50 ms or 64 KiB; telling it of each append
would only cost both processors. So an append sets a timer, and when that fires the index covers
the append.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from repltap.delivery.supervised import SupervisedSink
from repltap.feed import Feed

_INDEX_SECONDS = 0.055
"""A little more than it takes the feed to write the index after an append. The feed sets its timer
before it wakes anybody, so that this one fires later, however long an append takes."""


class Wakeups:
    """Wakes workers that wait.

    Args:
        feed: Where the journal is.
        sinks: Gives all of them.
    """

    def __init__(self, feed: Feed, sinks: Callable[[], Iterable[SupervisedSink]]) -> None:
        self._feed = feed
        self._sinks = sinks
        self._timer: asyncio.TimerHandle | None = None
        self._seen: object = None  # where the journal ended when the timer was set
        feed.listen(self.wake_all)

    def waits(self, sink: SupervisedSink) -> None:
        """A worker has read all it could."""
        if sink.told == self._end():
            self._feed.readers.wait(self)  # nothing has come in since
        else:
            self.wake()

    def wake(self) -> None:
        """Bytes have come in: the feed calls this once, after `Feed.wait`."""
        if self._timer is None:
            self._seen = self._end()
            self._timer = asyncio.get_running_loop().call_later(_INDEX_SECONDS, self._fire)

    def wake_all(self) -> None:
        """Something else than the end of the journal has changed: whoever waits is to look."""
        for sink in self._sinks():
            sink.wake()

    def stop(self) -> None:
        """Wake nobody any more."""
        if self._timer is not None:
            self._timer.cancel()

    def caught_up(self, sink: SupervisedSink) -> bool:
        """Tell whether a worker has looked at everything that is stored, and waits for more."""
        return sink.waiting and sink.told == self._end()

    def _fire(self) -> None:
        self._timer = None
        for sink in self._sinks():
            if sink.waiting and sink.told != self._seen:
                sink.told = self._seen
                sink.wake()
        if any(sink.waiting for sink in self._sinks()):
            if self._seen == self._end():
                self._feed.readers.wait(self)
            else:
                self.wake()  # more has come in, and the index may not cover it yet

    def _end(self) -> object:
        history = self._feed.history
        return None if history is None else (history.number, history.journal.end)
