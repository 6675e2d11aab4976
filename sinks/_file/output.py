"""One file that is being written."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path

from repltap.sink import SinkError, SinkErrorKind
from sinks._file.compression import Packer
from sinks._file.counts import Counts
from sinks._file.failures import failures_of

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
_MODE = 0o600  # it holds the values of users


class Output:
    """A file in progress, locked.

    Args:
        path: Where it is now.
        fd: Open to append; closed with this.
        length: Of what it holds.
        compression: Of `compression.SUFFIXES`.
        counts: What is done is counted there.

    Attributes:
        path: Changes when it is renamed.
        length: What has been written; with a compression some is held back until `end_piece`.
        dirty: Something was written, or cut off, since the last `sync`.
    """

    def __init__(
        self, path: Path, fd: int, length: int, *, compression: str, counts: Counts
    ) -> None:
        self.path = path
        self.length = length
        self.dirty = False
        self._seen = length  # so much was there when it was last looked at
        self._fd = fd
        self._packer = Packer(compression)
        self._counts = counts

    @classmethod
    def create(cls, path: Path, *, compression: str, counts: Counts) -> Output:
        """Begin a file that is not there yet.

        Raises:
            SinkError: It can't be made, or is there.
        """
        with failures_of(path):
            fd = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, _MODE)
        lock(fd, path)
        return cls(path, fd, 0, compression=compression, counts=counts)

    @classmethod
    def reopen(cls, path: Path, length: int, *, compression: str, counts: Counts) -> Output:
        """Go on with a file, cut to what was committed.

        Args:
            path: Of the file.
            length: Of what was committed.
            compression: What is written from here on.
            counts: What is done is counted there.

        Raises:
            SinkError: It can't be opened, somebody else writes it, or it is shorter.
        """
        with failures_of(path):
            fd = os.open(path, _FLAGS)
        lock(fd, path)
        made = cls(path, fd, length, compression=compression, counts=counts)
        try:
            made._cut()
        except SinkError:
            made.close()
            raise
        return made

    def _cut(self) -> None:
        with failures_of(self.path):
            found = os.fstat(self._fd)
            if not stat.S_ISREG(found.st_mode):
                raise SinkError(f"{self.path}: is no regular file", passes=False)
            if found.st_size < self.length:
                raise SinkError(
                    f"{self.path}: holds {found.st_size} bytes, but {self.length} were committed: "
                    "somebody else has changed it",
                    hint="move it away, and a new one is begun",
                    kind=SinkErrorKind.REFUSED,
                    passes=False,
                )
            if found.st_size > self.length:
                os.ftruncate(self._fd, self.length)
                self.dirty = True

    def write(self, data: bytes) -> int:
        """Append.

        Returns:
            How many bytes were put out, packed.

        Raises:
            SinkError: Not all could be written; what is behind the last commit is of no use.
        """
        return self._append(self._packer.pack(data))

    def end_piece(self) -> int:
        """Let what is written be readable for itself; returns and raises as `write`."""
        return self._append(self._packer.end())

    def _append(self, data: bytes) -> int:
        if not data:
            return 0
        self.dirty = True
        with failures_of(self.path), memoryview(data) as view:
            done = 0
            while done < len(view):
                written = os.write(self._fd, view[done:])
                done += written
                self.length += written
        return done

    def sync(self) -> None:
        """Wait until all of it is on the disk.

        Never again after a failure: the kernel has forgotten then which bytes were not written
        (Linux reports EIO once, and takes the pages for clean). They are written again instead.

        Raises:
            SinkError: The disk has failed.
        """
        if self.dirty:
            with failures_of(self.path):
                self._counts.sync(self._fd)
            self.dirty = False

    def is_moved(self) -> bool:
        """Tell whether the file has another name now.

        Raises:
            SinkError: It has none at all, or holds something else than was written.
        """
        with failures_of(self.path):
            here = os.fstat(self._fd)
            try:
                there: os.stat_result | None = os.lstat(self.path)
            except FileNotFoundError:
                there = None
        if not here.st_nlink:
            raise SinkError(f"{self.path}: has been removed", hint="another one is begun")
        if here.st_size != self.length:
            if here.st_size < self.length:
                self._leave_as_cut(here.st_size)
            raise SinkError(
                f"{self.path}: holds {here.st_size} bytes, but {self.length} were written: "
                "somebody else has changed it"
            )
        self._seen = self.length
        return there is None or (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)

    def _leave_as_cut(self, size: int) -> None:
        """Take off what was appended behind the place where somebody has cut the file.

        Else it might be as long as what was committed, and `reopen` go on with it.
        """
        with failures_of(self.path):
            os.ftruncate(self._fd, max(0, self._seen - (self.length - size)))

    def close(self) -> None:
        """Let go of it; may be called twice.

        That the system complains tells nothing new: what counts has been synced before.
        """
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with suppress(OSError):
                os.close(fd)


def lock(fd: int, path: Path) -> None:
    """Lock a file, or close it.

    Raises:
        SinkError: Somebody else has.
    """
    try:
        with failures_of(path):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SinkError(
                    f"{path}: another process writes it",
                    hint="two sinks need two paths",
                    kind=SinkErrorKind.REFUSED,
                ) from None
    except SinkError:
        os.close(fd)
        raise
