"""When retention is looked at: as often as a segment was written, and each second.

Where room is short, reading waits for it: a burst from the master must not fill a quota that old
journal, to be deleted in a moment, still takes.
"""

from __future__ import annotations

import asyncio

from repltap.position import Offset
from repltap.tasks import wait_at_most

_LOOK_SECONDS = 1.0
"""How often retention is looked at, whether the journal has grown or not."""

_CATCH_UP_SECONDS = 5.0
"""How long reading waits for what is to be deleted. A disk that takes longer is in trouble; then
reading goes on as long as there is room at all."""


class Housekeeping:
    """Says when to look, and waits for it.

    Args:
        segment_bytes: Size of a journal file: as much as this is deleted at once.
    """

    def __init__(self, segment_bytes: int) -> None:
        self._segment_bytes = segment_bytes
        self._end = Offset(0)  # of the journal
        self._due_at = Offset(0)  # the journal's end from which on it is time
        self._work = asyncio.Event()
        self._looked = asyncio.Event()

    def appended(self, end: Offset) -> None:
        """The journal has grown; cheap."""
        self._end = end
        if self.is_due(end):
            self._work.set()

    def is_due(self, end: Offset) -> bool:
        """Tell whether a segment was written since retention was last looked at."""
        return end >= self._due_at

    def call(self) -> None:
        """Let `wait` return at once."""
        self._work.set()

    async def wait(self) -> None:
        """Wait until it is time to look, or something else is to be done."""
        await wait_at_most(self._work, _LOOK_SECONDS)
        self._work.clear()

    def begin(self, end: Offset) -> None:
        """Retention is looked at now, with the journal ending here."""
        self._due_at = Offset(end + self._segment_bytes)

    def done(self) -> None:
        """It has been: what was to be deleted is."""
        self._looked.set()

    async def catch_up(self) -> None:
        """Wait until it has been looked at, for five seconds at most."""
        self._looked.clear()
        self._work.set()
        if not await wait_at_most(self._looked, _CATCH_UP_SECONDS):
            self.begin(self._end)  # not to be waited for again after each read
