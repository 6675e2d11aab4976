"""When reading from the master stops for want of room, and when it goes on.

It never asks the master for what would not fit: each try costs the master a fork and the network
the size of a snapshot.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from repltap.errors import OpenFilesError, ReplTapError
from repltap.feed import Feed
from repltap.intake import Intake
from repltap.logs import PeerLogger
from repltap.protocol.info import human_bytes

_POLL_SECONDS = 1.0
_MAX_PAUSE_SECONDS = 30.0
"""After writes have failed again and again although the disk claims to have room (no inodes left,
a quota of the file system's own), reading is tried again this seldom."""


class Room:
    """What the link knows of the room that it needs.

    Args:
        feed: Whose disk it is.
        log: The link's.

    Attributes:
        lacks_files: The last pause was for want of file descriptors, not of room.
    """

    def __init__(self, feed: Feed, log: PeerLogger) -> None:
        self._feed = feed
        self._log = log
        self._wanted_bytes = 0  # what the last snapshot would have needed, if it ran out
        self._pauses = 0  # times in a row that the disk was full, or no file could be opened
        self._reached = 0  # where the journal ended the last time
        self.lacks_files = False

    def ran_out(self, failure: ReplTapError, intake: Intake | None) -> None:
        """A write has failed; `intake` is the snapshot that was arriving.

        Where much was stored since the last time the disk does take what comes: at a quota that
        the stream reaches before old journal is deleted, which is a busy machine's, that is no
        reason to wait for anything but room.
        """
        self._wanted_bytes = _room_for(intake)
        history = self._feed.history
        end = 0 if history is None else int(history.journal.end)
        stored, self._reached = end - self._reached, end
        gets_on = intake is None and stored >= self._feed.working_room_bytes
        self._pauses = 0 if gets_on else self._pauses + 1
        self.lacks_files = isinstance(failure, OpenFilesError)

    def proven(self) -> None:
        """The stream has run for a while: the failures before it are over."""
        self._pauses = 0

    def forget(self) -> None:
        """Another master is followed: what the last one's snapshot needed is void."""
        self._wanted_bytes = self._pauses = 0
        self.lacks_files = False

    async def wait(
        self,
        *,
        on_pause: Callable[[], None],
        again: Callable[[], bool],
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        """Leave the master alone while there is no room for what it would send.

        Args:
            on_pause: Called before the first pause.
            again: Whether the wait is over whatever the room, as after a re-point.
            pause: Waits so many seconds, or less when `again` becomes true.
        """
        # More than what stops it, so that a disk at the brink does not make the link flap.
        wanted = max(self._wanted_bytes, 2 * self._feed.working_room_bytes)
        if self._feed.has_room(wanted) and not self._pauses:
            return
        await self._feed.drop_broken(wanted)
        if not self._feed.has_room(wanted) and await self._feed.make_room(wanted):
            return  # sinks alone were in the way
        on_pause()
        self._log.error(
            "%s; reading has stopped, what is stored is still served, and reading goes on by "
            "itself when that has changed",
            "no more files can be opened"
            if self.lacks_files
            else f"{self._feed.data_dir}: {shortage(self._feed, wanted)}",
        )
        # The disk said it was full: let it be for a moment, whatever it says of its room now.
        await pause(min(_POLL_SECONDS * 2 ** max(0, self._pauses - 1), _MAX_PAUSE_SECONDS))
        while not again() and not self._feed.has_room(wanted):
            await pause(_POLL_SECONDS)
        if again():
            return
        self._wanted_bytes = 0
        self.lacks_files = False
        self._log.info("reading goes on: there is room in %s", self._feed.data_dir)


def shortage(feed: Feed, wanted_bytes: int) -> str:
    """Say why there is no room for so much.

    Args:
        feed: Whose disk it is.
        wanted_bytes: What there is no room for.

    Returns:
        What is free and what is wanted, what is left free where that is the reason, and the quota.
    """
    free = feed.free_bytes()
    if feed.has_room(wanted_bytes):  # a write has failed, and something was let go since
        return f"no room was left; {human_bytes(free)} free now, {human_bytes(wanted_bytes)} wanted"
    limits = feed.limits
    text = f"no room left: {human_bytes(free)} free, {human_bytes(wanted_bytes)} wanted"
    if free > wanted_bytes:
        return f"{text} and {human_bytes(limits.min_free_bytes)} kept free (store.min_free_bytes)"
    if limits.quota_bytes is not None:
        text += f" (the quota is {human_bytes(limits.quota_bytes)}: store.quota_bytes)"
    return text


def _room_for(intake: Intake | None) -> int:
    """Estimate what a snapshot that ran out of room needs: its size, or more than it had."""
    if intake is None:
        return 0
    return intake.size if intake.size is not None else intake.writer.size * 5 // 4
