"""The files of a sink in their directory: found, renamed, deleted.

A file is under one of three names (`names`). It goes from one to the next only when that need
never be undone: when the commit that speaks of it is kept. So a file under its final name holds
nothing that will be taken back, whenever the process or the machine stops.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from repltap.sink import SinkError, SinkErrorKind
from sinks._file.counts import Counts
from sinks._file.failures import failures_of
from sinks._file.names import PART, Names
from sinks._file.output import lock


class Folder:
    """A directory.

    Args:
        path: Where files are made, and looked for.
        names: Of the files.
        counts: What is done is counted there.
    """

    def __init__(self, path: Path, names: Names, counts: Counts) -> None:
        self.path = path
        self.names = names
        self._counts = counts
        self._changed = False  # names are not on the disk yet

    def require(self) -> None:
        """Look whether it is there.

        Raises:
            SinkError: It is not, or is no directory.
        """
        with failures_of(self.path), os.scandir(self.path):
            pass

    def find(self, name: str) -> Path | None:
        """Look for a file by its final name, under whichever it is.

        Raises:
            SinkError: It can't be looked for.
        """
        # What is there in its first place counts; PART was made with other settings.
        return self._first_of(name, (self.names.live, self.names.new, "", PART))

    def _first_of(self, name: str, suffixes: Sequence[str]) -> Path | None:
        for suffix in suffixes:
            path = self.path / (name + suffix)
            if self._is_there(path):
                return path
        return None

    def is_final(self, path: Path) -> bool:
        """Tell whether a file has its final name."""
        return not path.name.endswith((PART, self.names.new))

    def choose(self, sequence: int, offset: int, ts_ms: int) -> tuple[int, str]:
        """Choose the name of the next file.

        Args:
            sequence: The highest number that was given.
            offset, ts_ms: As for `Names.name`.

        Returns:
            Its number, and its final name; nothing has it yet.

        Raises:
            SinkError: There is but one name, and something else has it.
        """
        while True:
            sequence += 1
            name = self.names.name(sequence, offset, ts_ms)
            found = self._first_of(name, (self.names.live, self.names.new, ""))
            if found is None:
                return sequence, name
            if not self.names.numbered:
                raise self.in_the_way(found)

    def in_the_way(self, path: Path) -> SinkError:
        """Say that a file is there which this sink does not know."""
        if path.is_dir():
            return SinkError(
                f"{path}: is a directory",
                hint="path is the name of a file",
                kind=SinkErrorKind.REFUSED,
                passes=False,
            )
        return SinkError(
            f"{path}: is there already, and this sink does not know how far it got in it",
            hint="move it away, or choose another path",
            kind=SinkErrorKind.REFUSED,
            passes=False,
        )

    def highest_sequence(self) -> int:
        """Find the highest number that a file has.

        Raises:
            SinkError: The directory can't be read.
        """
        return max((number for number, _ in self._numbered()), default=0)

    def refuse_later(self, sequence: int) -> None:
        """See whether a file is there that only a later commit can have made.

        Args:
            sequence: The highest number that the commit knows of.

        Raises:
            SinkError: One is, or the directory can't be read.
        """
        for number, name in sorted(self._numbered()):
            if number > sequence and not name.endswith(self.names.new):
                raise self._later(self.path / name)

    def refuse_longer(self, path: Path, length: int) -> None:
        """See whether a finished file has more than was committed.

        Raises:
            SinkError: It has, or can't be looked at.
        """
        with failures_of(path):
            found = path.lstat().st_size
        if found > length:
            raise self._later(path)

    def _later(self, path: Path) -> SinkError:
        return SinkError(
            f"{path}: was written after the sink's checkpoint: that is an older copy, or another "
            "sink has the same path",
            hint="put the newer one back, or move all files away and begin anew with "
            f"`repltap sink reset {self.names.sink}`; two sinks need two paths",
            kind=SinkErrorKind.REFUSED,
            passes=False,
        )

    def move(self, path: Path, name: str) -> Path:
        """Give a file its next name; `sync` makes it durable.

        Raises:
            SinkError: It can't, or something has the name.
        """
        target = self.path / name
        if target == path:
            return path
        if self._is_there(target):
            raise self.in_the_way(target)
        with failures_of(target):
            path.rename(target)
        self._changed = True
        return target

    def added(self) -> None:
        """Remember that a file was made."""
        self._changed = True

    def sync(self) -> None:
        """Wait until all names are on the disk.

        Raises:
            SinkError: The disk has failed.
        """
        if self._changed:
            with failures_of(self.path):
                self._counts.sync_directory(self.path)
            self._changed = False

    def remove_uncommitted(self, keep: str) -> None:
        """Delete files of which nothing is committed, but one.

        Raises:
            SinkError: One can't be deleted, or somebody writes it.
        """
        for name in self._list():
            final = name.removesuffix(self.names.new)
            if final in (name, keep) or self.names.sequence_of(name) is None:
                continue
            path = self.path / name
            with failures_of(path):
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            lock(fd, path)
            try:
                with failures_of(path):
                    path.unlink()
            finally:
                os.close(fd)
            self._changed = True

    def delete_old(self, keep_files: int | None, keep_bytes: int | None) -> None:
        """Delete finished files, the oldest first; the newest stays.

        Args:
            keep_files: How many may stay; None for all.
            keep_bytes: How large they may be together, but for the newest; None for any size.

        Raises:
            SinkError: One can't be deleted.
        """
        if keep_files is None and keep_bytes is None:
            return
        size = 0
        newest_first = sorted(self._numbered(), reverse=True)
        finished = [self.path / name for _, name in newest_first if self.is_final(Path(name))]
        for count, path in enumerate(finished, 1):
            with failures_of(path):
                size += path.lstat().st_size
                too_many = keep_files is not None and count > keep_files
                too_much = keep_bytes is not None and size > keep_bytes
                if too_many or (too_much and count > 1):
                    path.unlink()
                    self._counts.deleted += 1
                    self._changed = True

    def _numbered(self) -> list[tuple[int, str]]:
        """List the files of the sink with their numbers."""
        numbers = [(self.names.sequence_of(name), name) for name in self._list()]
        return [(number, name) for number, name in numbers if number is not None]

    def _list(self) -> list[str]:
        with failures_of(self.path), os.scandir(self.path) as found:
            return [entry.name for entry in found]

    def _is_there(self, path: Path) -> bool:
        with failures_of(path):
            try:
                path.lstat()
            except FileNotFoundError:
                return False
        return True
