"""Writing a log: all its partitions together, from commit to commit."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sinks.eventlog.batch import BatchBuilder
from sinks.eventlog.files import (
    COMMIT_NAME,
    LOCK_NAME,
    META_NAME,
    Commit,
    End,
    LogError,
    Meta,
    NoLogError,
    fsync_dir,
    load_commit,
    load_meta,
    partition_path,
    save_commit,
    save_meta,
)
from sinks.eventlog.partition import PartitionWriter

BATCH_BYTES = 256 << 10
"""Records of a batch before compression: enough to compress well, little enough to read one."""

_ROLLS = 8
"""A segment is completed after an eighth of `retain_seconds`, so that it is gone soon after."""


@dataclass(frozen=True, slots=True)
class WriterSettings:
    """How a log is written.

    Attributes:
        partitions: Of a new log; an existing one keeps its own.
        segment_bytes: How large a segment's `.log` gets.
        retain_bytes: Of each partition, None for everything.
        retain_seconds: None for ever.
        compress: With zstd.
    """

    partitions: int = 1
    segment_bytes: int = 64 << 20
    retain_bytes: int | None = None
    retain_seconds: float | None = None
    compress: bool = False


class LogWriter:
    """The one writer of a log. What is written counts from the next commit on.

    Args:
        directory: Of the log; made if its parent is there.
        settings: How.
        log: Told of what had to be repaired.
        clock: Unix seconds.

    Attributes:
        meta: The log's id and number of partitions.
        commit: The last one.
        written: Bytes that went into segments since it was opened.

    Raises:
        LogError: Another process writes it, or it has another number of partitions.
        CorruptLogError: What was committed is not all there.
        OSError: The files can't be made.
    """

    def __init__(
        self,
        directory: Path,
        settings: WriterSettings,
        log: logging.Logger,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.directory = directory
        self.written = 0
        self._settings = settings
        self._clock = clock
        self._partitions: list[PartitionWriter] = []
        if not directory.exists():
            directory.mkdir()
            fsync_dir(directory.parent)
        self._lock = _lock(directory)
        try:
            self.meta, self.commit = self._load()
            self._open(log)
        except BaseException:
            self.close()
            raise

    def add(
        self, partition: int, ts_ms: int, key: bytes | None, value: bytes, headers: bytes
    ) -> None:
        """Append a record; it may stay in memory until `flush`.

        Args:
            partition: Which.
            ts_ms, key, value, headers: As for `BatchBuilder.add`.

        Raises:
            BatchError: It is 2 GiB or larger.
            OSError: It can't be written; the log has to be opened again.
        """
        builder = self._builders[partition]
        if builder.count and builder.size + len(value) > BATCH_BYTES:
            self._flush(partition)
        builder.add(ts_ms, key, value, headers)

    def flush(self) -> None:
        """Hand everything to the operating system.

        Raises:
            BatchError, OSError: As for `add`.
        """
        for partition, builder in enumerate(self._builders):
            if builder.count:
                self._flush(partition)

    def make_commit(self, place: str) -> None:
        """Make everything that was added count, durably.

        Args:
            place: What follows it in the stream.

        Raises:
            BatchError, OSError: As for `add`.
        """
        self.flush()
        for partition in self._partitions:
            partition.sync()
        commit = Commit(
            number=self.commit.number + 1,
            place=place,
            time=self._clock(),
            ends=tuple(partition.end for partition in self._partitions),
        )
        save_commit(self.directory, commit)
        self.commit = commit

    def retain(self) -> int:
        """Let old segments go, directly after a commit; returns how many went.

        Raises:
            OSError: They can't be removed.
        """
        settings = self._settings
        return sum(
            partition.retain(settings.retain_bytes, settings.retain_seconds)
            for partition in self._partitions
        )

    @property
    def ends(self) -> tuple[End, ...]:
        """Up to where each partition is written, committed or not."""
        return tuple(partition.end for partition in self._partitions)

    def close(self) -> None:
        """Let go of the files; may be called twice."""
        for partition in self._partitions:
            partition.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _flush(self, partition: int) -> None:
        writer = self._partitions[partition]
        raw, header = self._builders[partition].take(writer.end.next_offset)
        writer.append(raw, header)
        self.written += len(raw)

    def _load(self) -> tuple[Meta, Commit]:
        wanted = self._settings.partitions
        try:
            meta = load_meta(self.directory)
        except NoLogError:
            return self._create()
        if meta.partitions != wanted:
            raise LogError(
                f"has {meta.partitions} partitions, not {wanted}: keys would change theirs",
                path=self.directory,
                hint=f"set partitions = {meta.partitions}, or name another directory",
            )
        return meta, load_commit(self.directory, meta.partitions)

    def _create(self) -> tuple[Meta, Commit]:
        """Begin a log in a directory that has none."""
        ours = {LOCK_NAME, COMMIT_NAME, f".{META_NAME}.part", f".{COMMIT_NAME}.part"}
        if others := sorted({path.name for path in self.directory.iterdir()} - ours):
            raise LogError(
                f"has no {META_NAME}, but {others[0]}: it is no log, or a part of one",
                path=self.directory,
                hint="name a directory that is empty or not there yet",
            )
        meta = Meta(secrets.token_hex(8), self._settings.partitions)
        empty = tuple(End(0, 0, 0) for _ in range(meta.partitions))
        commit = Commit(0, None, self._clock(), empty)
        save_commit(self.directory, commit)
        save_meta(self.directory, meta)  # last: with it, it is a log
        return meta, commit

    def _open(self, log: logging.Logger) -> None:
        settings = self._settings
        rolls = settings.retain_seconds
        self._builders = [
            BatchBuilder(compress=settings.compress) for _ in range(self.meta.partitions)
        ]
        for number, end in enumerate(self.commit.ends):
            partition = PartitionWriter(
                partition_path(self.directory, number),
                segment_bytes=settings.segment_bytes,
                roll_seconds=None if rolls is None else rolls / _ROLLS,
                clock=self._clock,
            )
            self._partitions.append(partition)
            partition.open(end, log)


def _lock(directory: Path) -> int:
    path = directory / LOCK_NAME
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(fd)
        if not isinstance(exc, BlockingIOError):
            raise
        raise LogError(
            "another process writes this log",
            path=directory,
            hint="give each sink a directory of its own",
        ) from exc
    return fd
