"""Looking at a store without opening it: no lock is taken, nothing is ever changed.

A repltap may be using the directory meanwhile: it appends, begins segments, trims and removes. So
everything here is a view of one moment. A file that is gone by the time it is opened was trimmed
and is no damage; what the index does not cover yet is not read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from repltap.errors import CorruptStoreError, DataDirError, NotRetainedError
from repltap.position import Offset
from repltap.store import timemap
from repltap.store.format import (
    RECORD_BYTES,
    Record,
    crc32c,
    index_path,
    segment_path,
    unpack_record,
)
from repltap.store.history import (
    JOURNAL_NAME,
    METADATA_NAME,
    SNAPSHOTS_NAME,
    HistoryMetadata,
    load_metadata,
)
from repltap.store.index import first_where, record_at
from repltap.store.metadata import storage_error
from repltap.store.recovery import list_segments, read_mark
from repltap.store.segment import Segment
from repltap.store.snapshot import Snapshot, load_snapshot
from repltap.store.store import HISTORIES_NAME, LOCK_NAME, history_number

_LISTINGS = 10
"""A directory that is listed while it is trimmed can show a gap that was never there. It is listed
again until nothing is missing, or the same is missing twice."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that is wrong on the disk.

    Attributes:
        path: Which file.
        message: What is wrong with it.
        start, end: Which stream bytes it makes unusable; None for none, or where nobody knows.
    """

    path: Path
    message: str
    start: Offset | None = None
    end: Offset | None = None

    def __str__(self) -> str:
        """One line for people."""
        where = "" if self.start is None else f"offsets {self.start} to {self.end}: "
        return f"{self.path}: {where}{self.message}"


class Block(NamedTuple):
    """Stream bytes that match their checksum.

    Attributes:
        offset: Of the first byte.
        data: The bytes.
        time_ns: When the last of them came in, Unix nanoseconds.
    """

    offset: Offset
    data: bytes
    time_ns: int


class StoreReader:
    """A view of a data directory.

    Args:
        path: The directory.

    Attributes:
        owner: The process that uses it just now, None for none that can be seen.
        histories: The published ones, oldest first.

    Raises:
        DataDirError: It is no data directory, or can't be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.owner = lock_owner(path / LOCK_NAME)
        self.histories: tuple[HistoryReader, ...] = ()
        directory = path / HISTORIES_NAME
        try:
            numbered = [
                (number, name)
                for name in os.listdir(directory)  # noqa: PTH208 - names only
                if (number := history_number(name)) is not None
            ]
        except (FileNotFoundError, NotADirectoryError) as exc:
            raise DataDirError(
                "is not a data directory of repltap", path=path, hint="see --data-dir"
            ) from exc
        except OSError as exc:
            raise storage_error(exc, directory) from exc
        found = (_history(directory / name, number) for number, name in sorted(numbered))
        self.histories = tuple(history for history in found if history is not None)

    def history(self, number: int | None) -> HistoryReader:
        """Find a history.

        Args:
            number: As in the name of its directory; None for the newest.

        Raises:
            NotRetainedError: It is not there.
        """
        for history in reversed(self.histories):
            if number in (None, history.number):
                return history
        raise NotRetainedError(
            "no history is stored" if number is None else f"there is no history {number}",
            path=self.path,
            hint="see `repltap journal ls`",
        )


class HistoryReader:
    """A view of one published history.

    Args:
        path: Its directory.
        number: As in the directory's name.
        metadata: What its `history.json` says, or what is wrong with that.

    Attributes:
        damage: What is wrong with its `history.json`, None for nothing.
    """

    def __init__(self, path: Path, number: int, metadata: HistoryMetadata | Damage) -> None:
        self.path = path
        self.number = number
        self.damage = metadata if isinstance(metadata, Damage) else None
        self._metadata = metadata

    @property
    def metadata(self) -> HistoryMetadata:
        """What its `history.json` says.

        Raises:
            CorruptStoreError: It can't be believed.
        """
        if isinstance(self._metadata, Damage):
            raise CorruptStoreError(self._metadata.message, path=self._metadata.path)
        return self._metadata

    def journal(self, since: Offset | None = None) -> JournalReader:
        """Look at its journal as it is now.

        Args:
            since: Only at what holds this offset, and what follows: who looks often and has read
                the rest need not look at hundreds of files.

        Raises:
            NotRetainedError: The history has been removed meanwhile.
            DataDirError: It can't be read.
        """
        return JournalReader(self.path / JOURNAL_NAME, since)

    def snapshots(self) -> tuple[list[Snapshot], list[Damage]]:
        """Look at its snapshots: those that look whole, newest first, and what is damaged.

        Raises:
            DataDirError: They can't be read.
        """
        directory = self.path / SNAPSHOTS_NAME
        found, damages = [], []
        try:
            names = sorted(directory.glob("*.json"), reverse=True)
        except OSError as exc:
            raise storage_error(exc, directory) from exc
        for name in names:
            path = name.with_suffix(".rdb")
            try:
                found.append(load_snapshot(path))
            except CorruptStoreError as exc:
                damages.append(as_damage(exc))
            except FileNotFoundError:
                # The .json goes first when repltap removes one.
                if name.exists():
                    damages.append(Damage(path, "the snapshot's file is missing"))
        return found, damages


class JournalReader:
    """A view of a journal.

    Args:
        path: Its directory.
        since: Only the segments that hold this offset, and what follows; None for all.

    Attributes:
        mark: Up to where it was durable, None when `durable.mark` is damaged or absent.
        segments: Its segments; the sizes are those of this moment.

    Raises:
        NotRetainedError: It has been removed.
        DataDirError: It can't be read.
    """

    def __init__(self, path: Path, since: Offset | None = None) -> None:
        self.path = path
        try:
            # First: what it promises is in the segments that are listed afterwards.
            self.mark = read_mark(path) or read_mark(path)
            self.segments = _settled_list(path, since)
        except FileNotFoundError as exc:
            raise NotRetainedError("the history has been removed", path=path.parent) from exc
        except OSError as exc:
            raise storage_error(exc, path) from exc

    @property
    def start(self) -> Offset:
        """The first offset that is held, 0 when no segment is."""
        return self.segments[0].start if self.segments else Offset(0)

    @property
    def disk_bytes(self) -> int:
        """What segments and indexes take."""
        return sum(segment.disk_bytes for segment in self.segments)

    def end(self) -> Offset:
        """Tell up to where the index covers what is held.

        Raises:
            DataDirError: It can't be read.
        """
        for segment in reversed(self.segments):
            record = self._last_record(segment)
            if record is not None:
                return record.end
        return self.start

    def times(self, segment: Segment) -> tuple[int, int] | None:
        """Tell when the first and the last bytes of a segment came in, Unix nanoseconds.

        Returns:
            None where its index does not say.

        Raises:
            DataDirError: It can't be read.
        """
        first, last = self._record(segment, 0), self._last_record(segment)
        return (first.time_ns, last.time_ns) if first and last else None

    def offset_at(self, time_ns: int) -> Offset:
        """Tell how far the stream had come at a time; the journal's start for any time before.

        Raises:
            DataDirError: An index can't be read, or has been trimmed meanwhile.
        """
        found = timemap.offset_at(self.segments, time_ns)
        return self.start if found is None else found

    def blocks(self, start: Offset, end: Offset) -> Iterator[Block]:
        """Read a range, comparing each part with its checksum before it is given out.

        Args:
            start: The first byte, within the journal.
            end: After the last; what the index does not cover is left out.

        Raises:
            CorruptStoreError: What comes next is damaged.
            NotRetainedError: It has been trimmed meanwhile.
            DataDirError: It can't be read.
        """
        if start < self.start:
            raise NotRetainedError(f"offset {start} has been trimmed", path=self.path)
        position = start
        for segment in self.segments:
            if segment.end <= position and segment is not self.segments[-1]:
                continue
            if position >= end:
                return
            if segment.start > position:
                raise _damaged(segment_path(self.path, position), position, "it is missing")
            for block in _blocks(segment, position, end):
                position = Offset(block.offset + len(block.data))
                yield block
            if position < min(end, segment.end) and segment is not self.segments[-1]:
                raise _damaged(segment.path, position, "its index does not cover it")

    def _last_record(self, segment: Segment) -> Record | None:
        """The last record that can be believed; behind it is what a crash may have torn."""
        for position in reversed(range(segment.index_bytes // RECORD_BYTES)):
            record = self._record(segment, position)
            if record is not None:
                return record
        return None

    def _record(self, segment: Segment, position: int) -> Record | None:
        path = index_path(self.path, segment.start)
        try:
            return record_at(path, position)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise storage_error(exc, path) from exc


def _blocks(segment: Segment, start: Offset, end: Offset) -> Iterator[Block]:
    """Read what a segment holds of a range, as far as its index covers it."""
    path = index_path(segment.path.parent, segment.start)
    count = segment.index_bytes // RECORD_BYTES
    segment.acquire()
    try:
        position = first_where(path, count, lambda record: record.end > start)
        before = record_at(path, position - 1) if position else None
        begin = before.end if before else segment.start
        # A damaged record misleads the search; what it would skip is never skipped.
        if (position and before is None) or begin > start:
            raise _damaged(path, start, "an index record does not match its checksum")
        with open(path, "rb") as index:
            index.seek(position * RECORD_BYTES)
            while position < count and begin < end:
                record = unpack_record(index.read(RECORD_BYTES))
                if record is None or record.end <= begin:
                    raise _damaged(path, begin, "an index record does not match its checksum")
                data = os.pread(segment.fd, record.end - begin, begin - segment.start)
                if len(data) != record.end - begin or crc32c(data) != record.data_crc:
                    raise _damaged(segment.path, begin, "the data does not match its checksum")
                low, high = max(start, begin), min(end, record.end)
                yield Block(Offset(low), data[low - begin : high - begin], record.time_ns)
                begin, position = record.end, position + 1
    except FileNotFoundError as exc:
        raise NotRetainedError("trimmed meanwhile", path=segment.path) from exc
    except OSError as exc:
        raise storage_error(exc, segment.path) from exc
    finally:
        segment.release()


def _history(path: Path, number: int) -> HistoryReader | None:
    """Look at a history, None when it is not published, or removed just then."""
    try:
        metadata = load_metadata(path)
    except FileNotFoundError:
        return None
    except CorruptStoreError as exc:
        return HistoryReader(path, number, as_damage(exc))
    if metadata.number != number:
        damage = Damage(path / METADATA_NAME, f"is of history {metadata.number}")
        return HistoryReader(path, number, damage)
    return HistoryReader(path, number, metadata)


def as_damage(error: CorruptStoreError) -> Damage:
    """Give an error about a stored file as what is wrong with it."""
    return Damage(error.path, error.message.removeprefix(f"{error.path}: "))


def _settled_list(directory: Path, since: Offset | None) -> list[Segment]:
    found = list_segments(directory, since)
    for _ in range(_LISTINGS):
        shape = [(segment.start, segment.end) for segment in found[:-1]]
        if all(end == s.start for (_, end), s in zip(shape, found[1:], strict=True)):
            break
        found = list_segments(directory, since)
        if [(segment.start, segment.end) for segment in found[:-1]] == shape:
            break
    return found


def _damaged(path: Path, offset: Offset, reason: str) -> CorruptStoreError:
    return CorruptStoreError(
        f"damaged at offset {offset}: {reason}", path=path, hint="see `repltap journal verify`"
    )


def lock_owner(lock: Path) -> int | None:
    """Find the process that holds the lock, without trying the lock: that could be in its way.

    A holder in another container is not seen; then a torn tail is not taken for a growing one.
    """
    try:
        inode = str(lock.stat().st_ino)
        locks = Path("/proc/locks").read_text(encoding="ascii")
    except OSError:
        return None
    for line in locks.splitlines():
        # 1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF
        words = line.split()
        if words[1:2] == ["FLOCK"] and words[5].rpartition(":")[2] == inode:
            return int(words[4])
    return None
