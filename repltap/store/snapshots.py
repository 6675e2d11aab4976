"""Stored snapshots: RDB files exactly as the master sent them, each with a metadata file.

    snapshots/00000000000000001000-redis0011.rdb    the bytes, never changed once published
    snapshots/00000000000000001000-redis0011.json   size, CRC-64, AUX fields, when, how long
    snapshots/00000000000000001000-redis0011.rdb.broken   the last that was found damaged
    snapshots/00000000000000001000-1.rdb.part       one that is arriving (or was, when we died)

The `.json` is what publishes a snapshot: it appears whole, after the `.rdb` is durable under its
name. An `.rdb` without it is as unfinished as a `.part`, and is removed when the directory is
opened. The format in the name is the RDB magic in lower case: Valkey 9 can send one offset in two
formats (`replicaRdbVersion`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from repltap.errors import CorruptStoreError, DiskFullError
from repltap.position import Offset
from repltap.store.budget import Budget
from repltap.store.metadata import fsync_dir, storage_error
from repltap.store.recovery import Repair
from repltap.store.snapshot import Snapshot, load_snapshot

__all__ = ["Snapshot", "SnapshotWriter", "Snapshots"]


BROKEN_SUFFIX = ".broken"


class SnapshotWriter:
    """A snapshot that is arriving.

    Attributes:
        offset: The stream offset it describes.
        path: The file it is written to until it is published.
        size: How many bytes of it are in the file.
        fd: For writing and reading (pread, sendfile) while it grows. Valid for as long as this
            object is referenced, also after `publish` and `discard`; `os.dup` it to outlive that.
    """

    def __init__(self, snapshots: Snapshots, offset: Offset, path: Path, budget: Budget) -> None:
        self.offset = offset
        self.path = path
        self.size = 0
        self.fd = -1
        self._snapshots = snapshots
        self._budget = budget
        self._finished = False
        try:
            self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        except OSError as exc:
            raise storage_error(exc, path) from exc

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Add the next bytes of the RDB.

        Raises:
            DiskFullError: No room. `size` tells how much is stored; the rest is not.
            DataDirError: The disk failed.
        """
        with memoryview(data) as view:
            done = 0
            room = self._budget.left
            while done < len(view):
                if done >= room:
                    raise DiskFullError(
                        f"the quota of {self._budget.limit} bytes is used up",
                        path=self.path,
                        hint="raise it, or retain less",
                    )
                try:
                    written = os.pwrite(self.fd, view[done:room], self.size)
                except OSError as exc:
                    raise storage_error(exc, self.path) from exc
                if not written:
                    raise DiskFullError("nothing could be written", path=self.path)
                self.size += written
                done += written

    def sync(self) -> None:
        """Force what is written to the disk; blocking, for a thread.

        Raises:
            DataDirError: The disk failed.
        """
        try:
            os.fsync(self.fd)
        except OSError as exc:
            raise storage_error(exc, self.path) from exc

    def publish(
        self,
        *,
        format: str,  # noqa: A002 - the word of the RDB format
        crc64: int,
        aux: Mapping[str, str],
        duration_seconds: float,
        now: float,
    ) -> Snapshot:
        """Make it durable and add it to the stored ones; blocking, for a thread.

        Args:
            format: The RDB magic and version.
            crc64: The checksum that was verified.
            aux: Its AUX fields.
            duration_seconds: How long it took to arrive.
            now: Unix seconds.

        Returns:
            The stored snapshot. One that is stored already for this offset and format stays, and
            is returned: published files never change.

        Raises:
            DiskFullError: No room; it can be published again, or discarded.
            DataDirError: The disk failed.
        """
        path = self._snapshots.path / f"{self.offset:020d}-{format.lower()}.rdb"
        for stored in self._snapshots.all:
            if stored.path == path:
                self.discard()
                return stored
        snapshot = Snapshot(
            self.offset, path, self.size, format, crc64, dict(aux), now, duration_seconds
        )
        try:
            os.fsync(self.fd)
            if self.path != path:
                self.path.rename(path)
                self.path = path
            fsync_dir(path.parent)
        except OSError as exc:
            raise storage_error(exc, path) from exc
        snapshot.publish_metadata()
        self._finished = True
        self._snapshots.finish(self, snapshot)
        return snapshot

    def discard(self) -> None:
        """Give it up and remove the file; nothing happens after `publish`. Blocking.

        Raises:
            DataDirError: It could not be removed; the next open tries again.
        """
        if self._finished:
            return
        self._finished = True
        try:
            self.path.unlink(missing_ok=True)
        except OSError as exc:
            raise storage_error(exc, self.path) from exc
        finally:
            self._snapshots.finish(self, None)


class Snapshots:
    """The snapshots of one history.

    Args:
        path: Their directory; made when it does not exist.
        budget: The quota they count against.

    Attributes:
        path: Their directory.
        all: The stored ones, newest offset first; replaced, never changed.
        repairs: Files that were unfinished or damaged when the directory was opened: removed or
            renamed to `.broken`, and why.

    Raises:
        DataDirError: The directory can't be used.
    """

    def __init__(self, path: Path, budget: Budget) -> None:
        self.path = path
        self._budget = budget
        self._lock = threading.Lock()  # publish and remove run in threads
        self._arriving: tuple[SnapshotWriter, ...] = ()
        self._begun = 0
        self._broken_bytes = 0
        self.repairs: list[Repair] = []
        self.all: tuple[Snapshot, ...] = ()
        try:
            path.mkdir(exist_ok=True)
            self._open()
        except OSError as exc:
            raise storage_error(exc, path) from exc
        budget.join(self)

    @property
    def disk_bytes(self) -> int:
        """What they take on the disk: those that are arriving, and the damaged one, included."""
        stored = sum(snapshot.size_bytes for snapshot in self.all) + self._broken_bytes
        return stored + sum(writer.size for writer in self._arriving)

    @property
    def reserved_bytes(self) -> int:
        """Nothing: each write asks."""
        return 0

    def begin(self, offset: Offset) -> SnapshotWriter:
        """Begin to store a snapshot.

        Args:
            offset: The stream offset it describes.

        Raises:
            DiskFullError: No room for a file.
            DataDirError: The file could not be made.
        """
        with self._lock:
            self._begun += 1
            path = self.path / f"{offset:020d}-{self._begun}.rdb.part"
            writer = SnapshotWriter(self, offset, path, self._budget)
            self._arriving = (*self._arriving, writer)
            return writer

    def finish(self, writer: SnapshotWriter, snapshot: Snapshot | None) -> None:
        """Take over what a writer has published, or forget the writer."""
        with self._lock:
            self._arriving = tuple(w for w in self._arriving if w is not writer)
            if snapshot is not None:
                self.all = _newest_first((*self.all, snapshot))

    def remove(self, snapshot: Snapshot) -> None:
        """Delete a stored snapshot; blocking. Those who have it open go on reading.

        Nothing happens when it is gone already, also with its whole history.

        Raises:
            DataDirError: It could not be deleted; it is not offered any more all the same.
        """
        if not self._withdraw(snapshot):
            return
        try:
            snapshot.path.with_suffix(".json").unlink(missing_ok=True)
            snapshot.path.unlink(missing_ok=True)
            fsync_dir(self.path)
        except FileNotFoundError:
            pass  # the history has been discarded
        except OSError as exc:
            raise storage_error(exc, snapshot.path) from exc

    def set_aside(self, snapshot: Snapshot) -> Path | None:
        """Take a damaged snapshot out of service and keep it as `.broken` to look at; blocking.

        One is kept a history, the last. Those who have it open go on reading.

        Returns:
            Where it is now; None when it was gone already.

        Raises:
            DataDirError: It could not be renamed; it is not offered any more all the same.
        """
        if not self._withdraw(snapshot):
            return None
        try:
            kept = self._keep_broken(snapshot.path)
            fsync_dir(self.path)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise storage_error(exc, snapshot.path) from exc
        return kept

    def remove_above(self, offset: Offset) -> None:
        """Delete the stored snapshots that describe more than what is below `offset`; blocking.

        Raises:
            DataDirError: One could not be deleted.
        """
        for snapshot in self.all:
            if snapshot.offset > offset:
                self.remove(snapshot)

    def count_broken(self) -> None:
        """Look what the damaged one that is kept takes, after somebody may have deleted it."""
        total = 0
        for path in self.path.glob("*" + BROKEN_SUFFIX):
            try:
                total += path.stat().st_size
            except FileNotFoundError:
                continue
        self._broken_bytes = total

    def _open(self) -> None:
        """Find the published snapshots; remove what is unfinished, set aside what is damaged."""
        found = []
        for path in sorted(self.path.iterdir()):
            orphan = path.suffix == ".json" and not path.with_suffix(".rdb").exists()
            if orphan or path.name.endswith((".part", ".tmp")):
                path.unlink()
            elif path.suffix == ".rdb":
                try:
                    found.append(load_snapshot(path))
                except FileNotFoundError:
                    path.unlink()
                except CorruptStoreError as exc:
                    # Not fatal as in the journal: the master can be asked for another one.
                    size = path.stat().st_size
                    kept = self._keep_broken(path)
                    self.repairs.append(Repair(path, None, size, kept, exc.message))
        self.all = _newest_first(found)
        self.count_broken()

    def _withdraw(self, snapshot: Snapshot) -> bool:
        """Offer it no longer; tells whether its files are its own, not those of a successor."""
        with self._lock:
            self.all = tuple(s for s in self.all if s != snapshot)
            return all(s.path != snapshot.path for s in self.all)

    def _keep_broken(self, path: Path) -> Path:
        kept = path.with_name(path.name + BROKEN_SUFFIX)
        path.rename(kept)
        path.with_suffix(".json").unlink(missing_ok=True)
        for older in self.path.glob("*" + BROKEN_SUFFIX):
            if older != kept:
                older.unlink(missing_ok=True)  # one is enough to look at, and they are large
        self.count_broken()
        return kept


def _newest_first(snapshots: Iterable[Snapshot]) -> tuple[Snapshot, ...]:
    return tuple(sorted(snapshots, key=lambda s: (s.offset, s.created_at), reverse=True))
