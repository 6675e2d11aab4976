"""Follows the stream of one stored history: bytes of the journal in, records with places out.

A relay may be writing meanwhile. What makes that safe without any lock is the order in which it
changes a history at a failover (`HistoryStore.shift`): the bytes that are taken back go first, then
the name changes, then bytes come in under the new one. So bytes that were read while the name was
still the old one are the old one's. `history.json` is looked at behind each read, and what was read
before a change is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from repltap.delivery.commands import CommandTable
from repltap.delivery.names import is_named, successor, valid_until
from repltap.delivery.place import Place
from repltap.delivery.stream import RecordStream, StreamLimits, StreamState
from repltap.errors import CorruptStoreError, NotRetainedError
from repltap.excerpt import database_at
from repltap.position import MAX_OFFSET, History, Offset, ReplId
from repltap.sink import Record
from repltap.store.format import index_path, segment_path
from repltap.store.history import METADATA_NAME, HistoryMetadata, load_metadata
from repltap.store.metadata import storage_error
from repltap.store.reader import Block, HistoryReader, JournalReader
from repltap.store.segment import Segment

_DOUBTS = 40
"""Damage may be a view of what a failover has cut off just then, or of a record that is being
written: it is believed when it is seen again so often, which at 50 ms each is two seconds."""

Accepts = Callable[[Record], bool]


class Decoding(Protocol):
    """What is made of the bytes of a stream; `RecordStream` says more of each."""

    @property
    def window(self) -> tuple[bytes, int]:
        """What the last piece was decoded from, and the offset where that begins."""

    def take(self, data: bytes, replid: str, time_ns: int) -> list[Record]:
        """Decode a piece that came in at a time, Unix nanoseconds."""

    def state(self) -> StreamState:
        """Tell where to begin for what has not been given out yet."""

    def abandon(self) -> int:
        """Drop an open transaction; returns how many records it had."""


Decode = Callable[[StreamState], Decoding]


class Found(NamedTuple):
    """Records, maybe none, and where to go on behind them.

    Attributes:
        records: What is complete.
        place: What follows them.
        window, window_start: What they were decoded from, and the offset where that begins.
        size: How many bytes have been read for them.
    """

    records: list[Record]
    place: Place
    window: bytes
    window_start: int
    size: int


class Renamed(NamedTuple):
    """The history goes on under another replid.

    Attributes:
        previous: The replid before.
        place: Where it goes on.
        delivered_until: Up to where records have been given out; what is between is taken back.
        abandoned: Records of a transaction that the cut has left open; nobody has executed it.
    """

    previous: ReplId
    place: Place
    delivered_until: Offset
    abandoned: int


class Trimmed(NamedTuple):
    """The journal begins behind the place."""

    start: Offset


class Gone(NamedTuple):
    """The history has been removed."""


Followed = Found | Renamed | Trimmed | Gone


class StreamFollower:
    """Reads one history from a place on.

    Args:
        history: Which; `place.replid` is one of its names.
        place: In its stream.
        table: What is known of commands.
        source: The configured name of the upstream.
        accepts: Tells which records are wanted; None for all.
        limits: What decoding may take of memory.
        given_until: Up to where `place.replid`'s records may have been given out before.
        pulse: Called now and then within long work; may raise to end that.
        decode: Begins to decode somewhere; None for records.

    Attributes:
        at_end: The last look at the journal has shown nothing more.

    Raises:
        CorruptStoreError: Its `history.json` can't be believed.
        DataDirError: It can't be read.
    """

    def __init__(
        self,
        history: HistoryReader,
        place: Place,
        *,
        table: CommandTable,
        source: str,
        accepts: Accepts | None = None,
        limits: StreamLimits | None = None,
        given_until: int = 0,
        pulse: Callable[[], None] = lambda: None,
        decode: Decode | None = None,
    ) -> None:
        self.at_end = False
        self._history = history
        self._number = history.number
        self._table = table
        self._source = source
        self._accepts = accepts
        self._limits = limits
        self._given_until = given_until
        self._pulse = pulse
        self._names: History = history.metadata.history
        self._stamp: tuple[int, ...] = ()
        self._replid = place.replid
        self._stream = (decode or self._decode_from)(place.stream_state)
        self._position = place.offset
        self._blocks: Iterator[Block] = iter(())
        self._last: Segment
        self._quiet: tuple[int, int, int] | None = None  # `_tail` when nothing more was there
        self._doubts = 0

    @property
    def place(self) -> Place:
        """Where to go on for what was not given out yet."""
        return Place.stream(self._number, self._replid, self._stream.state())

    @property
    def position(self) -> Offset:
        """Up to where the journal has been read."""
        return self._position

    def abandon(self) -> int:
        """Drop the open transaction; returns how many records it had."""
        return self._stream.abandon()

    def next(self) -> Followed | None:
        """Give what comes next; None for nothing just now.

        Raises:
            RemoteProtocolError: The stream holds something that is no command.
            CorruptStoreError: What comes next is damaged.
            DataDirError: It can't be read.
        """
        self.at_end = False
        try:
            self._look_at_names()
            if (renamed := self._renamed()) is not None:
                return renamed
            block = self._block()
            if self._look_at_names():
                # Whose bytes these are can't be told: they are read again.
                self._blocks = iter(())
                return self._renamed() or Found([], self.place, b"", self._position, 0)
        except FileNotFoundError:
            return Gone()
        except NotRetainedError:
            self._blocks = iter(())
            return self._not_retained()
        except CorruptStoreError:
            self._blocks = iter(())
            self._doubts += 1
            if self._doubts > _DOUBTS:
                raise
            return None
        self._doubts = 0
        self.at_end = block is None
        return None if block is None else self._decode(block)

    def _block(self) -> Block | None:
        """Read a block, looking at the journal anew where the last look is exhausted."""
        block = next(self._blocks, None)
        if block is not None or (self._quiet is not None and self._quiet == self._tail()):
            return block
        view = self._history.journal(self._position)
        self._blocks = view.blocks(self._position, MAX_OFFSET)
        block = next(self._blocks, None)
        self._quiet = None
        if block is None and view.segments:
            self._last = view.segments[-1]
            self._quiet = self._tail()
            if self._quiet is not None and self._quiet[1] != self._last.index_bytes:
                self._quiet = None  # it has grown just now
        return block

    def _tail(self) -> tuple[int, int, int] | None:
        """Give what differs when the journal has grown: to look at two names costs next to nothing.

        Returns:
            None where it has to be looked at.
        """
        directory = self._last.path.parent
        try:
            following = segment_path(directory, self._position)
            if self._last.start < self._position and following.exists():
                return None
            found = index_path(directory, self._last.start).stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _decode(self, block: Block) -> Found:
        until = valid_until(self._names, self._replid)
        data = block.data[: max(until - block.offset, 0)]
        self._position = Offset(block.offset + len(data))
        records = self._stream.take(data, self._replid, block.time_ns)
        if len(data) < len(block.data):
            self._blocks = iter(())
        return Found(records, self.place, *self._stream.window, len(data))

    def _renamed(self) -> Renamed | None:
        """Notice that the replid's part has been read, or that less of it counts than was read."""
        found = successor(self._names, self._replid)
        if found is None or self._position < found.since:
            return None
        place = self.place
        abandoned = self._stream.abandon()
        delivered_until = Offset(max(place.offset, found.since, self._given_until))
        db = self._stream.state().db if place.offset == found.since else self._database(found.since)
        going_on = Place.stream(self._number, found.replid, StreamState(found.since, db))
        return Renamed(self._replid, going_on, delivered_until, abandoned)

    def _database(self, at: Offset) -> int | None:
        view = self._history.journal()
        if not view.start <= at <= view.end():
            return None
        return database_at(self._history.metadata, view, at, self._pulse)

    def _look_at_names(self) -> bool:
        """Look whether the history has got another name; true if it has.

        Raises:
            FileNotFoundError: It has been removed, or had so many since that ours is forgotten.
        """
        path = self._history.path / METADATA_NAME
        try:
            found = path.stat()
        except FileNotFoundError:
            raise
        except OSError as exc:
            raise storage_error(exc, path) from exc
        # It is replaced, never rewritten: another file is another inode or another time.
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        if stamp == self._stamp:
            return False
        said: HistoryMetadata = load_metadata(self._history.path)
        if not is_named(said.history, self._replid):
            raise FileNotFoundError
        self._stamp = stamp
        changed = said.history != self._names
        self._names = said.history
        self._quiet = None
        return changed

    def _not_retained(self) -> Trimmed | Gone | None:
        """Tell what it means that the journal does not hold what comes next."""
        try:
            view: JournalReader = self._history.journal()
        except NotRetainedError:
            return Gone()
        return Trimmed(view.start) if view.segments and self._position < view.start else None

    def _decode_from(self, state: StreamState) -> RecordStream:
        return RecordStream(
            state, self._table, source=self._source, accepts=self._accepts, limits=self._limits
        )
