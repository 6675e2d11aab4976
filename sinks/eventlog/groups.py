"""Consumer groups: who reads which partition, and up to where it has come.

A group is a directory of two small files for each partition (see `files`). A lock on one of them
keeps two members from reading the same partition at once; the kernel lets it go when the member
ends, however it does. The offset in the other is that of the next record to be read; it is replaced
as a whole after the records before it were dealt with, so that a member that is killed leaves some
to be read again, and none unread.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sinks.eventlog.batch import LogRecord
from sinks.eventlog.files import (
    GROUPS_NAME,
    CorruptLogError,
    LogError,
    OffsetOutOfRangeError,
    load,
    publish,
    unreadable,
)
from sinks.eventlog.reader import LogReader, PartitionReader

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""No slash and no dot in front: it is a directory's name."""

_LOOKERS = 50
_LOOKER_SECONDS = 0.002
"""`Group._member` has the lock for some microseconds; so many in a row are no accident."""


def group_name(raw: str) -> str:
    """Read the name of a group.

    Raises:
        ValueError: It can't be a directory's name.
    """
    if _NAME.fullmatch(raw) is None:
        raise ValueError(
            f"{raw!r} is no name of a group: letters, digits, '.', '_' and '-', at most 100"
        )
    return raw


@dataclass(frozen=True, slots=True)
class GroupState:
    """How far a group is in a partition.

    Attributes:
        group: Its name.
        partition: Which.
        offset: Of the next record to read.
        log: The id of the log that the offset is of.
        member: The process that reads it just now, None for nobody.
    """

    group: str
    partition: int
    offset: int
    log: str
    member: int | None


class Group:
    """The files of one group.

    Args:
        log: The log.
        name: Of the group, as `group_name` allows it.
    """

    def __init__(self, log: LogReader, name: str) -> None:
        self._log = log
        self.name = group_name(name)
        self.path = log.directory / GROUPS_NAME / name

    def claim(self, partition: int) -> int | None:
        """Take a partition for this process.

        Returns:
            A descriptor that has to stay open as long; None if another member has the partition.

        Raises:
            LogError: The group's files can't be made.
        """
        path = self.path / f"{partition}.lock"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            raise _unwritable(path, exc) from exc
        try:
            if _locked(fd):
                os.ftruncate(fd, 0)
                os.write(fd, b"%d\n" % os.getpid())
                return fd
        except OSError as exc:
            os.close(fd)
            raise _unwritable(path, exc) from exc
        os.close(fd)
        return None

    def load(self, partition: int) -> GroupState | None:
        """Read how far it is; None where it has never committed.

        Raises:
            CorruptLogError: The file can't be believed.
            LogError: It can't be read.
        """
        path = self.path / f"{partition}.json"
        try:
            found = load(path)
            offset, log = int(found["offset"]), str(found["log"])
        except FileNotFoundError:
            return None
        except (KeyError, TypeError, ValueError, OverflowError) as exc:
            raise CorruptLogError("is damaged", path=path, hint="remove it, or --reset") from exc
        return GroupState(self.name, partition, offset, log, self._member(partition))

    def save(self, partition: int, offset: int) -> None:
        """Remember how far it is; durable when it returns.

        Args:
            partition: One that was claimed.
            offset: Of the next record to read.

        Raises:
            LogError: It can't be written; what was there before is untouched.
        """
        path = self.path / f"{partition}.json"
        try:
            publish(path, {"offset": offset, "log": self._log.meta.id})
        except OSError as exc:
            raise _unwritable(path, exc) from exc

    def _member(self, partition: int) -> int | None:
        path = self.path / f"{partition}.lock"
        try:
            with open(path, "rb") as file:
                try:
                    # Shared: two who only look don't see each other.
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(file.read(32) or b"0")
        except (OSError, ValueError):
            return None
        return None


def list_groups(log: LogReader) -> list[GroupState]:
    """List all groups and their partitions, by name.

    Raises:
        CorruptLogError, LogError: As for `Group.load`.
    """
    path = log.directory / GROUPS_NAME
    try:
        names = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise unreadable(path, exc) from exc
    groups = [Group(log, name) for name in names if _NAME.fullmatch(name)]
    states = (group.load(number) for group in groups for number in range(log.meta.partitions))
    return [state for state in states if state is not None]


class Consumer:
    """Reads partitions in turn, as a member of a group or alone. Use as a context manager.

    Args:
        log: What is read.
        partitions: Which of them.
        start: Finds where to begin where the group has not committed yet, such as
            `PartitionReader.earliest`.
        group: Whose offsets are kept, None for nobody's.
        reset: Where to begin a partition whose offset is not held any more; None to raise.

    Attributes:
        partitions: Those that it has; for a group, those that no other member has.

    Raises:
        CorruptLogError, LogError: The group's files can't be used.
    """

    def __init__(
        self,
        log: LogReader,
        partitions: list[int],
        start: Callable[[PartitionReader], int],
        *,
        group: Group | None = None,
        reset: str | None = None,
    ) -> None:
        self._log = log
        self._group = group
        self._start = start
        self._reset = reset
        self._wanted = list(partitions)
        self._claims: dict[int, int] = {}
        self._readers: dict[int, PartitionReader] = {}
        self._next: dict[int, int] = {}  # the offset of the next record of each
        self._done: dict[int, int] = {}  # up to where it has been dealt with
        self._committed: dict[int, int] = {}
        self._held: dict[int, list[LogRecord]] = {}  # what a limit has left of a batch
        self._fresh: set[int] = set()  # of which nothing was read, and no group knows a place
        self._turn = 0
        try:
            self.claim()
        except BaseException:
            self.close()
            raise

    @property
    def partitions(self) -> list[int]:
        """Those that it reads."""
        return sorted(self._readers)

    @property
    def missing(self) -> list[int]:
        """Those that it wants, and another member of the group has."""
        return [number for number in self._wanted if number not in self._readers]

    def claim(self) -> None:
        """Take the partitions that are free now.

        Raises:
            CorruptLogError, LogError: As for the class.
        """
        for number in self.missing:
            state = None
            if self._group is not None:
                fd = self._group.claim(number)
                if fd is None:
                    continue
                self._claims[number] = fd
                state = self._group.load(number)
            reader = self._log.partition(number)
            self._next[number] = self._done[number] = self._begin(reader, state)
            if state is not None:
                self._committed[number] = state.offset
            self._readers[number] = reader

    def poll(self, limit: int) -> tuple[int, list[LogRecord]] | None:
        """Read what comes next, of one partition.

        Args:
            limit: At most so many records, at least 1.

        Returns:
            The partition and its records; None where nothing is left in any just now.

        Raises:
            OffsetOutOfRangeError: Retention was quicker, and there is no `reset`.
            CorruptLogError, LogError: As for `PartitionReader.read`.
        """
        numbers = self.partitions
        for at in range(len(numbers)):
            number = numbers[(self._turn + at) % len(numbers)]
            records = self._held.pop(number, None) or self._read(self._readers[number])
            if len(records) > limit:
                self._held[number], records = records[limit:], records[:limit]
            if records:
                self._turn = (self._turn + at + 1) % len(numbers)
                self._next[number] = records[-1].offset + 1
                return number, records
        return None

    def done(self) -> None:
        """Everything that `poll` returned has been dealt with: the next `commit` may tell."""
        self._done.update(self._next)

    def commit(self) -> None:
        """Remember, for the group, what is done.

        Raises:
            LogError: It can't be remembered.
        """
        if self._group is None:
            return
        for number, offset in self._done.items():
            if self._committed.get(number) != offset:
                self._group.save(number, offset)
                self._committed[number] = offset

    def close(self) -> None:
        """Let go of everything; what is not committed is read again by the next member."""
        for reader in self._readers.values():
            reader.close()
        for fd in self._claims.values():
            os.close(fd)
        self._readers, self._claims = {}, {}

    def __enter__(self) -> Consumer:
        """Read with it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _begin(self, reader: PartitionReader, state: GroupState | None) -> int:
        if state is None:
            self._fresh.add(reader.number)
            return self._start(reader)
        if state.log == self._log.meta.id:
            return state.offset
        return self._lost(
            OffsetOutOfRangeError(
                f"the group {state.group} has offset {state.offset} of a log that was here before",
                path=reader.path,
                earliest=reader.earliest(),
                latest=reader.latest(),
                hint="--reset earliest or --reset latest goes on with this one",
            ),
        )

    def _read(self, reader: PartitionReader) -> list[LogRecord]:
        while True:
            offset = self._next[reader.number]
            try:
                records = reader.read(offset)
                if records:
                    self._fresh.discard(reader.number)
                return records
            except OffsetOutOfRangeError as exc:
                if reader.number in self._fresh:
                    begin = self._start(reader)  # retention was quicker
                    if begin != offset:
                        self._next[reader.number] = self._done[reader.number] = begin
                        continue
                exc.hint = "--reset earliest or --reset latest goes on"
                self._next[reader.number] = self._lost(exc)

    def _lost(self, error: OffsetOutOfRangeError) -> int:
        """Say where to go on instead."""
        if self._reset is None:
            raise error
        return error.earliest if self._reset == "earliest" else error.latest


def _locked(fd: int) -> bool:
    """Lock a member's file, unless another member has; who only looks at it is waited for."""
    for _ in range(_LOOKERS):
        with suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        try:
            # Shared, it can be had beside those who look, and never beside a member.
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        fcntl.flock(fd, fcntl.LOCK_UN)
        time.sleep(_LOOKER_SECONDS)
    return False


def _unwritable(path: Path, exc: OSError) -> LogError:
    return LogError(
        f"can't be written: {exc.strerror or exc}",
        path=path,
        hint="a group's offsets are kept beside the log: make room, or let this user write there",
    )
