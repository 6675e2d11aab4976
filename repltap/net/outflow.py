"""What one replica is sent once it has been granted something: a snapshot, then the stream.

An `Outflow` puts sources into its session's `Connection` one after the other, and counts what
they sent. It knows which journal bytes the replica still needs (its pin). It decides nothing:
`repltap.net.serve` does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from repltap.feed import Feed
from repltap.intake import Intake
from repltap.net.connection import Connection
from repltap.net.sources import JournalSource, SnapshotSource
from repltap.net.transfers import Throttle
from repltap.position import Offset
from repltap.readers import Reader
from repltap.store.history import HistoryStore
from repltap.store.segment import Segment
from repltap.store.snapshots import Snapshot


class Outflow:
    """The sending half of a session.

    Args:
        feed: The histories.
        reader: The session, as the feed knows it.
        connection: Where to.
        throttle: How fast snapshots are sent.
        on_snapshot_sent: Called when the whole RDB is with the kernel.

    Attributes:
        history: What is read, once something has been granted.
        snapshot_size: Of the one that is being sent, None where it is not known.
    """

    def __init__(
        self,
        feed: Feed,
        reader: Reader,
        connection: Connection,
        throttle: Throttle,
        *,
        on_snapshot_sent: Callable[[], None],
    ) -> None:
        self._feed = feed
        self._reader = reader
        self._connection = connection
        self._throttle = throttle
        self._on_snapshot_sent = on_snapshot_sent
        self.history: HistoryStore | None = None
        self.snapshot_size: int | None = None
        self._begun_at = Offset(0)  # where its stream begins
        self._snapshot: SnapshotSource | None = None
        self._intake: Intake | None = None
        self._journal: JournalSource | None = None
        self._closed_bytes = 0

    @property
    def pin(self) -> Offset:
        """The first offset that has not been sent."""
        return self._journal.offset if self._journal else self._begun_at

    @property
    def sent_offset(self) -> Offset | None:
        """How far the stream has been sent, None before it has begun."""
        return self._journal.offset if self._journal else None

    @property
    def snapshot_sent(self) -> int | None:
        """Bytes of the snapshot that is being sent, None outside a transfer."""
        return self._snapshot.sent if self._snapshot else None

    @property
    def sent_bytes(self) -> int:
        """Snapshot and stream bytes sent so far."""
        return self._closed_bytes + (self.snapshot_sent or 0) + self.pin - self._begun_at

    @property
    def behind(self) -> bool:
        """The stream runs, and not all there is has been sent."""
        if self._journal is None or self.history is None:
            return False
        return self._journal.offset < self.history.journal.end

    def prepare_stream(self, history: HistoryStore, offset: Offset) -> None:
        """Send the journal from `offset` on; it begins with the connection's next flush.

        Raises:
            StoreError: The journal can't be read there; nothing has changed.
        """
        self._journal = JournalSource(history.journal, offset, self._idle, self._verify)
        self._attach(history, offset)
        self._connection.set_source(self._journal)

    def prepare_snapshot(self, history: HistoryStore, snapshot: Snapshot | Intake) -> None:
        """Send a stored or an arriving snapshot; it begins with the connection's next flush.

        Raises:
            StoreError: It can't be read; nothing has changed.
        """
        if isinstance(snapshot, Intake):
            self._snapshot = SnapshotSource.arriving(
                snapshot,
                on_idle=partial(snapshot.wait, self._reader),
                on_finished=self._snapshot_finished,
                pace=self._throttle.open(self._connection.flush),
            )
            snapshot.follow(self._reader)
            self._intake, self.snapshot_size = snapshot, snapshot.size
        else:
            self._snapshot = SnapshotSource.stored(
                snapshot,
                on_idle=self._idle,
                on_finished=self._snapshot_finished,
                pace=self._throttle.open(self._connection.flush),
            )
            self.snapshot_size = snapshot.size_bytes
        self._attach(history, snapshot.offset)
        self._connection.set_source(self._snapshot)

    def prepare_later(self, history: HistoryStore, offset: Offset) -> None:
        """Hold the journal from `offset` on for a stream that is begun later."""
        self._attach(history, offset)

    def begin_stream(self) -> None:
        """Go over to the stream, if it has not begun yet.

        Raises:
            StoreError: The journal can't be read there.
        """
        assert self.history is not None
        if self._journal is None:
            self._journal = JournalSource(
                self.history.journal, self._begun_at, self._idle, self._verify
            )
            self._connection.set_source(self._journal)

    def close(self) -> None:
        """Let go of the files and of the journal."""
        if self.history is not None:
            self._feed.readers.detach(self._reader, self.history)
        self._end_snapshot()
        if self._journal is not None:
            sent = self._journal.offset
            self._journal.close()
            self._journal = None
            self._closed_bytes += sent - self._begun_at
            self._begun_at = sent

    def _attach(self, history: HistoryStore, pin: Offset) -> None:
        self.history = history
        self._begun_at = pin
        self._feed.readers.attach(self._reader, history)

    def _idle(self) -> None:
        self._feed.readers.wait(self._reader)

    def _verify(self, segment: Segment) -> None:
        assert self.history is not None
        self._feed.checks.request(segment, self.history, self._reader)

    def _snapshot_finished(self) -> None:
        self._end_snapshot()
        self._connection.set_source(None)
        self._on_snapshot_sent()

    def _end_snapshot(self) -> None:
        if self._snapshot is not None:
            self._closed_bytes += self._snapshot.sent
            self._snapshot.close()
            self._snapshot = None
        if self._intake is not None:
            self._intake.leave(self._reader)
            self._intake = None
