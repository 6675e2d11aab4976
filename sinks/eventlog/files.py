"""The files of a log beside its segments: their names, what they hold, how they are replaced.

    DIR/log.json                    what never changes: the log's id, its number of partitions
    DIR/commit.json                 up to where it is committed; replaced at each commit
    DIR/writer.lock                 held with flock by the one who writes
    DIR/partition-<n>/<base>.log        record batches, as `batch` specifies them
    DIR/partition-<n>/<base>.index      where in the .log some of them are
    DIR/partition-<n>/<base>.timeindex  how late it is at some of them
    DIR/groups/<group>/<n>.json     up to where a group of consumers has come in a partition
    DIR/groups/<group>/<n>.lock     held with flock by the one who reads it for the group

`<base>` is the offset of the segment's first record in twenty decimal digits, so that names sort as
offsets do. The JSON files have a field `crc32c`: CRC-32C of the rest of the document, written with
sorted keys and without spaces. They are written beside their name and renamed, with fsync of file
and directory, so that a reader sees the old content or the new, also after a power failure.

`.index` and `.timeindex` are Kafka's, big-endian, one entry for about 4 KiB of the `.log`::

    .index      0  u32  last offset of a batch, less base
                4  u32  position of that batch in the .log
    .timeindex  0  i64  the largest time in the segment up to the end of a batch, Unix milliseconds
                8  u32  last offset of that batch, less base

They only save reading: what they say is compared with the batches, and where it does not fit the
`.log` is read from its beginning. A `.timeindex` whose segment is complete ends with an entry for
its last batch. Example: a batch with offsets 1000 to 1009, the latest at 5000 ms, that begins at
position 8192 of the segment 0::

    .index      000003f1 00002000
    .timeindex  0000000000001388 000003f1
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from repltap.sink import ReplTapError
from sinks.eventlog.batch import crc32c

META_NAME = "log.json"
COMMIT_NAME = "commit.json"
LOCK_NAME = "writer.lock"
GROUPS_NAME = "groups"

LOG, INDEX, TIMEINDEX = ".log", ".index", ".timeindex"
SUFFIXES = (LOG, INDEX, TIMEINDEX)

MAX_PARTITIONS = 64
"""Each takes three open files and a batch of memory in the writer."""

_FORMAT = 1
_MAX_BYTES = 1 << 20  # a commit of 64 partitions has 5 KB
_SEGMENT = re.compile(r"(\d{20})(\.log|\.index|\.timeindex)")


class LogError(ReplTapError):
    """Something about a log.

    Args:
        message: One line: what happened.
        path: The file or directory it happened to.
        hint: What the operator can do.
    """

    exit_code = 4

    def __init__(self, message: str, *, path: Path, hint: str = "") -> None:
        super().__init__(f"{path}: {message}", hint=hint)
        self.path = path


class NoLogError(LogError):
    """There is no log in the directory."""


class CorruptLogError(LogError):
    """A file of a log is damaged."""

    exit_code = 5


class OffsetOutOfRangeError(LogError):
    """The log does not hold the offset that was asked for: retention, or another log.

    Args:
        message, path, hint: As for `LogError`.
        earliest, latest: What it holds, half-open.
    """

    def __init__(
        self, message: str, *, path: Path, earliest: int, latest: int, hint: str = ""
    ) -> None:
        super().__init__(message, path=path, hint=hint)
        self.earliest = earliest
        self.latest = latest


class End(NamedTuple):
    """Up to where a partition is written.

    Attributes:
        segment: Base offset of its last segment.
        size: Bytes of that segment's `.log`.
        next_offset: Of the record that comes next.
    """

    segment: int
    size: int
    next_offset: int


@dataclass(frozen=True, slots=True)
class Meta:
    """What never changes.

    Attributes:
        id: Tells the log from one that was in the same directory before.
        partitions: How many.
    """

    id: str
    partitions: int


@dataclass(frozen=True, slots=True)
class Commit:
    """Up to where a log is valid: readers read no further, the writer goes on there.

    Attributes:
        number: Of the commit, from 0.
        place: Where the stream goes on, as the sink was told; None before the first one.
        time: Unix seconds.
        ends: Of each partition.
    """

    number: int
    place: str | None
    time: float
    ends: tuple[End, ...]


def partition_path(directory: Path, partition: int) -> Path:
    """Name the directory of a partition."""
    return directory / f"partition-{partition}"


def segment_path(partition: Path, base: int, suffix: str = LOG) -> Path:
    """Name a file of the segment that begins at `base`."""
    return partition / f"{base:020d}{suffix}"


def list_segments(partition: Path, suffix: str = LOG) -> list[int]:
    """List the base offsets of a partition's segments in order.

    Raises:
        OSError: The directory can't be read.
    """
    found = []
    with os.scandir(partition) as entries:
        for entry in entries:
            match = _SEGMENT.fullmatch(entry.name)
            if match and match[2] == suffix:
                found.append(int(match[1]))
    return sorted(found)


def load_meta(directory: Path) -> Meta:
    """Read `log.json`.

    Raises:
        NoLogError: There is none.
        CorruptLogError: It can't be believed.
    """
    path = directory / META_NAME
    try:
        found = load(path)
    except FileNotFoundError as exc:
        raise NoLogError("there is no log", path=directory) from exc
    if found.get("format") != _FORMAT:
        raise LogError(
            f"has format {found.get('format')}, this version knows {_FORMAT}",
            path=path,
            hint="read it with a newer repltap",
        )
    try:
        meta = Meta(str(found["id"]), int(found["partitions"]))
    except (KeyError, TypeError, ValueError, OverflowError) as exc:
        raise _damaged(path) from exc
    if not 1 <= meta.partitions <= MAX_PARTITIONS:
        raise _damaged(path)
    return meta


def save_meta(directory: Path, meta: Meta) -> None:
    """Write `log.json`.

    Raises:
        OSError: It can't be written.
    """
    publish(
        directory / META_NAME,
        {"format": _FORMAT, "id": meta.id, "partitions": meta.partitions},
    )


def load_commit(directory: Path, partitions: int) -> Commit:
    """Read `commit.json`.

    Raises:
        CorruptLogError: It is absent, can't be believed, or is of another log.
    """
    path = directory / COMMIT_NAME
    try:
        found = load(path)
        place = found["place"]
        ends = tuple(End(*map(int, end)) for end in found["ends"])
        commit = Commit(
            number=int(found["commit"]),
            place=None if place is None else str(place),
            time=float(found["time"]),
            ends=ends,
        )
    except (FileNotFoundError, KeyError, TypeError, ValueError) as exc:
        raise _damaged(path) from exc
    if len(ends) != partitions or any(min(end) < 0 for end in ends):
        raise _damaged(path)
    return commit


def save_commit(directory: Path, commit: Commit) -> None:
    """Write `commit.json`; durable when it returns.

    Raises:
        OSError: It can't be written; what was there before is untouched.
    """
    publish(
        directory / COMMIT_NAME,
        {
            "commit": commit.number,
            "place": commit.place,
            "time": commit.time,
            "ends": [list(end) for end in commit.ends],
        },
    )


def publish(path: Path, document: Mapping[str, object]) -> None:
    """Write a JSON file so that it appears whole, and durable.

    Raises:
        OSError: It can't be written; what was there before is untouched.
    """
    crc = crc32c(orjson.dumps(document, option=orjson.OPT_SORT_KEYS))
    content = orjson.dumps({**document, "crc32c": crc}, option=orjson.OPT_INDENT_2) + b"\n"
    part = path.with_name(f".{path.name}.part")  # whoever replaces it holds a lock
    try:
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            write_all(fd, content)
            os.fsync(fd)
        finally:
            os.close(fd)
        part.rename(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    fsync_dir(path.parent)


def load(path: Path) -> dict[str, Any]:  # Any: JSON
    """Read a JSON file.

    Raises:
        FileNotFoundError: There is none.
        CorruptLogError: It can't be believed.
        LogError: It can't be read.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read(_MAX_BYTES)
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise unreadable(path, exc) from exc
    try:
        document = orjson.loads(raw)
        crc = document.pop("crc32c")
    except (ValueError, AttributeError, KeyError, TypeError) as exc:
        raise _damaged(path) from exc
    if crc != crc32c(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)):
        raise _damaged(path)
    assert isinstance(document, dict)
    return document


def write_all(fd: int, data: bytes) -> None:
    """Write all of it at the file's position.

    Raises:
        OSError: It can't be written; a part of it may have been.
    """
    done = os.write(fd, data)
    while done < len(data):
        done += os.write(fd, memoryview(data)[done:])


def fsync_dir(path: Path) -> None:
    """Make creations, renames and removals in a directory durable.

    Raises:
        OSError: The directory can't be opened or synced.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def unreadable(path: Path, exc: OSError) -> LogError:
    """Say that a file can't be read."""
    return LogError(
        f"can't be read: {exc.strerror or exc}",
        path=path,
        hint="check the disk, its mount and its permissions",
    )


def _damaged(path: Path) -> CorruptLogError:
    return CorruptLogError(
        "is damaged or absent",
        path=path,
        hint="check the disk; restore the file, or move the log's directory away to begin again",
    )
