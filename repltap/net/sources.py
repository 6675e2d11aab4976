"""What a replica session sends from files: the journal from an offset, a snapshot from its start.

Each `pump` is a few `send_file` calls: without TLS no byte passes through Python. A source at the
end of what there is tells its owner, who registers it to be woken.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from repltap.errors import CorruptStoreError
from repltap.intake import Intake
from repltap.net.channel import Channel
from repltap.net.connection import Progress
from repltap.net.transfers import Pace
from repltap.position import Offset
from repltap.store.journal import Journal
from repltap.store.metadata import storage_error
from repltap.store.segment import Segment
from repltap.store.snapshots import Snapshot

_TURN_BYTES = 1 << 20
"""What one connection may send before the others have their turn: about a millisecond of copying
in the kernel, so that a full sync adds no more than that to the latency of the live streams."""


class JournalSource:
    """The journal's bytes from an offset on, for ever.

    Args:
        journal: Where from.
        offset: The first byte to send; `journal.start <= offset <= journal.end`.
        on_idle: Called when everything there is has been sent.
        on_unverified: Called with a segment from before the start whose bytes have not been
            compared with their checksums yet: nothing of it is sent before that.

    Raises:
        NotRetainedError: The journal does not hold `offset`.
    """

    def __init__(
        self,
        journal: Journal,
        offset: Offset,
        on_idle: Callable[[], None],
        on_unverified: Callable[[Segment], None],
    ) -> None:
        self._journal = journal
        self.offset = offset
        self._on_idle = on_idle
        self._on_unverified = on_unverified
        self._segment: Segment | None = journal.segment_at(offset)
        self._segment.acquire()

    def pump(self, channel: Channel) -> Progress:
        """Send up to a turn's worth.

        Raises:
            OSError: The socket failed.
            CorruptStoreError: A segment is shorter than its index says.
        """
        budget = _TURN_BYTES
        journal = self._journal
        while (segment := self._segment) is not None:
            offset = self.offset
            end = min(segment.end, journal.end)
            if offset >= end:
                if offset < journal.end:
                    self._move_on(segment)
                    continue
                self._on_idle()
                return Progress.IDLE
            if not segment.verified:
                self._on_unverified(segment)
                return Progress.IDLE
            try:
                sent = channel.send_file(
                    segment.fd, offset - segment.start, min(end - offset, budget)
                )
            except (BlockingIOError, InterruptedError):
                return Progress.BLOCKED
            if sent == 0:
                raise CorruptStoreError(
                    f"ends before offset {offset}, which its index covers",
                    path=journal.path,
                    hint="stop repltap and check the disk",
                )
            self.offset = Offset(offset + sent)
            budget -= sent
            if budget <= 0:
                return Progress.MORE
        return Progress.IDLE

    def close(self) -> None:
        """Let go of the segment."""
        if self._segment is not None:
            self._segment.release()
            self._segment = None

    def _move_on(self, finished: Segment) -> None:
        """Go over to the segment that holds the next byte."""
        following = self._journal.segment_at(self.offset)
        following.acquire()
        finished.release()
        self._segment = following


class SnapshotSource:
    """An RDB file, stored or still arriving, from its first byte.

    Args:
        fd: The open file; owned from now on.
        visible: How many bytes may be sent by now.
        finished: Whether `visible` is the whole file.
        on_idle: Called when everything visible has been sent and more is to come.
        on_finished: Called once, when the whole file has been sent.
        pace: How fast it may be sent, None for no limit; closed with the source.
    """

    def __init__(
        self,
        fd: int,
        *,
        visible: Callable[[], int],
        finished: Callable[[], bool],
        on_idle: Callable[[], None],
        on_finished: Callable[[], None],
        pace: Pace | None = None,
    ) -> None:
        self._file = fd
        self._pace = pace
        self._visible = visible
        self._finished = finished
        self._on_idle = on_idle
        self._on_finished = on_finished
        self.sent = 0

    @classmethod
    def stored(
        cls,
        snapshot: Snapshot,
        *,
        on_idle: Callable[[], None],
        on_finished: Callable[[], None],
        pace: Pace | None = None,
    ) -> SnapshotSource:
        """Send a stored snapshot."""
        return cls(
            snapshot.open(),
            visible=lambda: snapshot.size_bytes,
            finished=lambda: True,
            on_idle=on_idle,
            on_finished=on_finished,
            pace=pace,
        )

    @classmethod
    def arriving(
        cls,
        intake: Intake,
        *,
        on_idle: Callable[[], None],
        on_finished: Callable[[], None],
        pace: Pace | None = None,
    ) -> SnapshotSource:
        """Send a snapshot while it arrives.

        Raises:
            OpenFilesError: No more files can be opened just now.
        """
        try:
            fd = os.dup(intake.writer.fd)
        except OSError as exc:
            raise storage_error(exc, intake.writer.path) from exc
        return cls(
            fd,
            visible=lambda: intake.visible,
            finished=lambda: intake.released,
            on_idle=on_idle,
            on_finished=on_finished,
            pace=pace,
        )

    def pump(self, channel: Channel) -> Progress:
        """Send up to a turn's worth.

        Raises:
            OSError: The socket failed.
        """
        budget = _TURN_BYTES
        while (count := self._visible() - self.sent) > 0:
            if budget <= 0:
                return Progress.MORE
            size = min(count, budget)
            if self._pace is not None and not (size := self._pace.take(size)):
                return Progress.IDLE  # the pace wakes us
            sent = 0
            try:
                sent = channel.send_file(self._file, self.sent, size)
            except (BlockingIOError, InterruptedError):
                return Progress.BLOCKED
            finally:
                if self._pace is not None:
                    self._pace.give_back(size - sent)
            if sent == 0:
                raise OSError("the snapshot file is shorter than it should be")
            self.sent += sent
            budget -= sent
        if self._finished():
            self._on_finished()
        else:
            self._on_idle()
        return Progress.IDLE

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
        if self._pace is not None:
            self._pace.close()
