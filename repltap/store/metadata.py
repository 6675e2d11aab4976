"""Small files that appear whole or not at all, and the one seam where OSError becomes ours.

A metadata file is JSON for people, with a `crc32c` field over the rest of it: JSON alone would let
a flipped digit of an offset through. It is written beside its name, fsynced, renamed over it, and
the directory is fsynced, so a reader sees the old content or the new, also after a power failure.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path

from repltap.errors import (
    CorruptStoreError,
    DataDirError,
    DiskFullError,
    OpenFilesError,
    StoreError,
)
from repltap.store.format import crc32c

_TEMPORARY_SUFFIX = ".tmp"
_MAX_METADATA_BYTES = 1 << 20  # the largest honest one, a snapshot's AUX fields, is under 64 KiB

# EFBIG is what a file size limit (RLIMIT_FSIZE, or the file system's own) answers.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

# Nothing is wrong with the disk then: connections have taken the descriptors, and give them back.
_OPEN_FILES_HINTS = {
    errno.EMFILE: "raise the limit of open files: ulimit -n, or LimitNOFILE= for systemd",
    errno.ENFILE: "raise the system's limit of open files: sysctl fs.file-max",
}


def storage_error(exc: OSError, path: Path) -> StoreError:
    """Translate what the operating system said about a file of the store.

    Args:
        exc: What it raised.
        path: The file it was about.

    Returns:
        DiskFullError where there is no room, OpenFilesError where no more files can be opened,
        DataDirError for anything else.
    """
    reason = exc.strerror or str(exc)
    if exc.errno in _OPEN_FILES_HINTS:
        return OpenFilesError(reason, path=path, hint=_OPEN_FILES_HINTS[exc.errno])
    if exc.errno in _NO_ROOM:
        return DiskFullError(reason, path=path, hint="make room; reading goes on when there is")
    return DataDirError(reason, path=path, hint="check the disk, its mount and its permissions")


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


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that it appears whole; blocking.

    Args:
        path: Its name; an existing file is replaced.
        content: All of it.

    Raises:
        DiskFullError: There is no room; what was there before is untouched.
        DataDirError: It could not be written.
    """
    temporary = path.with_name(path.name + _TEMPORARY_SUFFIX)
    try:
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        fsync_dir(path.parent)
    except OSError as exc:
        raise storage_error(exc, path) from exc


def publish_json(path: Path, fields: Mapping[str, object]) -> None:
    """Write a metadata file so that it appears whole; blocking.

    Args:
        path: Its name; an existing file is replaced.
        fields: JSON values by name; `crc32c` is added.

    Raises:
        DiskFullError: There is no room; what was there before is untouched.
        DataDirError: It could not be written.
    """
    sealed = {**fields, "crc32c": _checksum(fields)}
    replace_file(path, json.dumps(sealed, indent=2).encode() + b"\n")


def load_json(path: Path) -> dict[str, object]:
    """Read a metadata file.

    Returns:
        Its fields without the checksum.

    Raises:
        FileNotFoundError: There is none.
        CorruptStoreError: It is not what `publish_json` wrote.
        DataDirError: It could not be read.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(_MAX_METADATA_BYTES)
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise storage_error(exc, path) from exc
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise corrupt_metadata(path, "is not JSON") from exc
    if not isinstance(fields, dict):
        raise corrupt_metadata(path, "is not a JSON object")
    if fields.pop("crc32c", None) != _checksum(fields):
        raise corrupt_metadata(path, "does not match its checksum")
    return fields


def corrupt_metadata(path: Path, reason: str) -> CorruptStoreError:
    """Say that a metadata file can't be believed."""
    return CorruptStoreError(
        reason, path=path, hint="restore it from a backup, or move its directory away"
    )


def _checksum(fields: Mapping[str, object]) -> int:
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return int(crc32c(canonical.encode()))
