"""The records of a stored snapshot, each with its place in the file, and which snapshot to take.

The place of a record counts everything that the file holds before it, wanted or not: so a snapshot
can be resumed in the middle, also with other filters.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple, Protocol

from repltap.delivery.place import Phase, Place
from repltap.errors import CorruptStoreError, NotRetainedError
from repltap.position import Offset, ReplId
from repltap.rdb._hot.source import Limits
from repltap.rdb.entries import Entry, Function, Item, Strings, expand
from repltap.rdb.losses import Losses
from repltap.rdb.reader import RdbReader
from repltap.sink import SnapshotRecord
from repltap.store.metadata import storage_error
from repltap.store.reader import HistoryReader
from repltap.store.snapshot import Snapshot

_BATCH_RECORDS: Final = 1000
_BATCH_BYTES: Final = 1 << 20
_BATCH_MEMORY: Final = 16 << 20
"""Bytes of the file, and in memory: a thousand small compressed values can be a gigabyte."""

_KEY_BYTES: Final = 6 << 20
_KEY_MEMORY: Final = 32 << 20
"""Below these, in the file and unpacked, a key is not torn: an output of commands gives it in its
serialized form then, which comes with its last part."""

_PART_MEMORY: Final = Limits().part_bytes

_new = tuple.__new__  # half the time of SnapshotRecord(...), whose arguments pass a function


class Part(NamedTuple):
    """Records that follow each other.

    Attributes:
        records: None of them where only what was delivered before is passed over.
        ordinal: Of what follows them.
        size: How many bytes of the file have been read for them.
    """

    records: list[SnapshotRecord]
    ordinal: int
    size: int


class SnapshotReading(Protocol):
    """Who makes something of the records that are read."""

    @property
    def payloads(self) -> Mapping[str, int]:
        """The types whose serialized form is wanted, and up to how many bytes."""

    def begin_snapshot(self, rdb_format: str, aux: Mapping[str, str]) -> None:
        """Look at what a snapshot says of itself."""

    def pass_over(self, record: SnapshotRecord) -> None:
        """Look at a part of a key that is not given again."""


class SnapshotFeed:
    """Reads one snapshot.

    Args:
        snapshot: Which; it has been verified.
        replid: What names its offset.
        source: The configured name of the upstream.
        reading: Who is told of it; None for nobody.

    Attributes:
        losses: What it holds that is no record.

    Raises:
        NotRetainedError: It has been removed.
        DataDirError: It can't be opened.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        replid: ReplId,
        source: str,
        reading: SnapshotReading | None = None,
    ) -> None:
        self.snapshot = snapshot
        self.losses = Losses()
        self._replid = replid
        self._source = source
        self._reading = reading
        self._ts_ms = int(snapshot.created_at * 1000)
        # It stays readable when it is removed.
        self._fd = snapshot.open()
        if reading is not None:
            reading.begin_snapshot(snapshot.format, snapshot.aux)

    def close(self) -> None:
        """Let go of the file; can be repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def parts(self, skip: int = 0) -> Iterator[Part]:
        """Read it, once.

        Args:
            skip: How many records are not wanted again.

        Raises:
            RdbError: It is damaged, or holds what is not known.
            DataDirError: It can't be read.
        """
        reader = RdbReader(self._read, payloads=self._reading.payloads if self._reading else ())
        records: list[SnapshotRecord] = []
        ordinal, begun = 0, 0
        held = 0  # of a key that is not at its end
        taken = 0  # memory, of what is not given out yet
        is_whole = True
        for item in reader:
            if isinstance(item, Entry):
                taken += _weight(item)
            for found in self._records(item, ordinal):
                ordinal += 1
                if ordinal > skip:
                    records.append(found)
                elif self._reading is not None and (found.part or not found.last):
                    self._reading.pass_over(found)
                is_whole = found.last
                held = 0 if is_whole else held + _size(found)
                if held >= _KEY_MEMORY or reader.offset - begun >= _KEY_BYTES:
                    is_whole = True  # whole enough
                if is_whole and (len(records) >= _BATCH_RECORDS or taken >= _BATCH_MEMORY):
                    yield Part(records, max(ordinal, skip), reader.offset - begun)
                    records, begun, taken = [], reader.offset, 0
            if is_whole and reader.offset - begun >= _BATCH_BYTES:
                yield Part(records, max(ordinal, skip), reader.offset - begun)
                records, begun, taken = [], reader.offset, 0
        yield Part(records, max(ordinal, skip), reader.offset - begun)

    def _records(self, item: Item, ordinal: int) -> Iterator[SnapshotRecord]:
        if isinstance(item, Strings):
            for at, entry in enumerate(expand(item), ordinal):
                yield self._record(entry, at)
        elif isinstance(item, Entry):
            yield self._record(item, ordinal)
        elif isinstance(item, Function):
            yield SnapshotRecord(
                self._source, self._replid, self.snapshot.offset, ordinal, None, None, "function",
                item.code, None, 0, True, self._ts_ms, None, False, item,
            )  # fmt: skip
        else:
            self.losses.see(item)

    def _record(self, entry: Entry, ordinal: int) -> SnapshotRecord:
        made: SnapshotRecord = _new(
            SnapshotRecord,
            (
                self._source,
                self._replid,
                self.snapshot.offset,
                ordinal,
                entry.db,
                entry.key,
                entry.type,
                entry.value,
                entry.expire_at_ms,
                entry.part,
                entry.last,
                self._ts_ms,
                None,
                False,
                entry,
            ),
        )
        return made

    def _read(self, size: int) -> bytes:
        try:
            return os.read(self._fd, size)
        except OSError as exc:
            raise storage_error(exc, self.snapshot.path) from exc


class Shelf:
    """Which snapshot to take.

    Args:
        pulse: Called now and then while one is read through; may raise to end that.

    Attributes:
        damaged: What was found damaged since the start: what is wrong, by file.
        pulse: As given.
    """

    def __init__(self, pulse: Callable[[], None]) -> None:
        self.damaged: dict[str, str] = {}
        self.pulse = pulse
        self._whole: dict[tuple[str, int, float], bool] = {}

    def newest(self, history: HistoryReader) -> Snapshot | None:
        """Give the newest snapshot that is whole and whose tail the journal has; None for none.

        Raises:
            NotRetainedError: The history has been removed.
            DataDirError: Something can't be read.
        """
        start = history.journal().start
        for snapshot in history.snapshots()[0]:
            if snapshot.offset >= start and self.is_whole(snapshot):
                return snapshot
        return None

    def same(self, history: HistoryReader, place: Place) -> Snapshot | None:
        """Give the snapshot that a place is in, if it is that very one still.

        Raises:
            DataDirError: It can't be read.
        """
        if place.phase is not Phase.SNAPSHOT:
            return None
        for snapshot in history.snapshots()[0]:
            if (snapshot.offset, snapshot.crc64) == (place.offset, place.crc64):
                return snapshot if self.is_whole(snapshot) else None
        return None

    def is_whole(self, snapshot: Snapshot) -> bool:
        """Tell whether its bytes are those that came in: nobody is to load what is damaged."""
        identity = (snapshot.path.as_posix(), snapshot.crc64, snapshot.created_at)
        if identity in self._whole:
            return self._whole[identity]
        try:
            snapshot.verify(lambda _: self.pulse())
            self._whole[identity] = True
        except NotRetainedError:
            return False
        except CorruptStoreError as exc:
            self.damaged[identity[0]] = str(exc)
            self._whole[identity] = False
        return self._whole[identity]


def _weight(entry: Entry) -> int:
    """Tell about how much memory an entry takes."""
    value = len(entry.value) if isinstance(entry.value, bytes) else entry.packed_bytes
    return value + len(entry.payload or b"")


def _size(record: SnapshotRecord) -> int:
    """Tell about how much memory a part takes, at most."""
    entry = record.entry
    return (entry.packed_bytes if isinstance(entry, Entry) else 0) or _PART_MEMORY


def stream_db(snapshot: Snapshot) -> int | None:
    """Tell which database is selected in the stream that follows, None where it does not say."""
    said = snapshot.aux.get("repl-stream-db", "")
    return int(said) if said.isdigit() else None


def begin_place(history: int, replid: ReplId, snapshot: Snapshot) -> Place:
    """Give the place before the first notice of a snapshot."""
    return Place(
        phase=Phase.SNAPSHOT,
        history=history,
        replid=replid,
        offset=Offset(snapshot.offset),
        crc64=snapshot.crc64,
    )
