"""A disk that loses its power: what fsync has promised is there afterwards, the rest by chance.

`os.fsync` and `os.fdatasync` are watched. What a file held when one of them returned is durable,
and so are a directory's names when it was synced. `crash` writes the tree as it may look after a
power failure: a directory's names are those of now or the durable ones (file systems journal them
in order); bytes past the durable ones are there, partly there, zeros (a file system that had given
them blocks), or missing.
"""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_Names = dict[str, int]


class Disk:
    """Watches a tree.

    Args:
        root: Its top; exists, and is durable itself.

    Attributes:
        on_sync: Called before each fsync takes effect.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._files: dict[int, bytes] = {}  # inode -> durable content
        self._names: dict[int, _Names] = {}  # a directory's inode -> durable names
        self._held: list[int] = []  # descriptors: no inode may be used again for another file
        self.on_sync: Callable[[], None] = lambda: None

    @contextmanager
    def watched(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
        """Watch from here on."""
        for name in ("fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self._synced)
        try:
            yield self
        finally:
            monkeypatch.undo()
            for fd in self._held:
                os.close(fd)

    def _synced(self, fd: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        if not path.is_relative_to(self.root):
            return
        self.on_sync()
        found = os.fstat(fd)
        if found.st_ino not in self._files and found.st_ino not in self._names:
            self._held.append(os.dup(fd))
        if stat.S_ISDIR(found.st_mode):
            self._names[found.st_ino] = {e.name: e.inode() for e in os.scandir(path)}
        else:
            self._files[found.st_ino] = Path(f"/proc/self/fd/{fd}").read_bytes()

    def crash(self, target: Path, rng: random.Random) -> None:
        """Write to `target` what a power failure now may leave."""
        self._directory(self.root, target, rng)

    def _directory(self, source: Path, target: Path, rng: random.Random) -> None:
        target.mkdir()
        durable = self._names.get(source.stat().st_ino, {})
        now: _Names = {entry.name: entry.inode() for entry in os.scandir(source)}
        for name, inode in sorted(rng.choice((durable, now)).items()):
            new = now.get(name)
            if inode == new and (source / name).is_dir():
                self._directory(source / name, target / name, rng)
            else:
                here = source / name if inode == new else None
                (target / name).write_bytes(self._content(inode, here, rng))

    def _content(self, inode: int, path: Path | None, rng: random.Random) -> bytes:
        durable = self._files.get(inode, b"")
        if path is None:
            return durable  # renamed over or removed since; what it held then is what it holds
        now = path.read_bytes()
        if not now.startswith(durable):  # written in place, or cut
            return rng.choice((durable, now))
        more = now[len(durable) :]
        written = rng.randrange(len(more) + 1)
        return durable + rng.choice(
            (
                b"",
                more,
                more[:written],
                bytes(len(more)),
                more[:written] + bytes(len(more) - written),
            )
        )
