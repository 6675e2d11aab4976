"""The data directory: its lock, its histories, its quota. The store's front door.

    DATA/repltap.lock                  flock; holds the process id, for people
    DATA/histories/<n>-<replid8>/      see `history`; <n> counts up, the highest is the newest
    DATA/histories/<n>-<replid8>.broken/   one that was damaged when a newer one was there already;
                                       kept to look at, at most one; see `broken`
    DATA/checkpoints/                  see `checkpoints`

One process uses a data directory at a time. The store is synchronous: what blocks says so, and its
caller decides on which thread it does.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from repltap.errors import CorruptStoreError, DataDirInUseError, StoreError
from repltap.position import Offset, ReplId
from repltap.store.broken import BrokenFiles
from repltap.store.budget import Budget
from repltap.store.checkpoints import Checkpoints
from repltap.store.history import SNAPSHOTS_NAME, HistoryStore
from repltap.store.metadata import fsync_dir, storage_error
from repltap.store.options import StoreOptions
from repltap.store.recovery import Repair

__all__ = ["Store", "StoreOptions"]

LOCK_NAME = "repltap.lock"
HISTORIES_NAME = "histories"
CHECKPOINTS_NAME = "checkpoints"
_BROKEN_SUFFIX = ".broken"
_HISTORY_NAME = re.compile(r"(\d+)-[0-9a-f]{8}")


def history_number(name: str) -> int | None:
    """Read the name of a history's directory: its number; None for any other name."""
    match = _HISTORY_NAME.fullmatch(name)
    return int(match[1]) if match else None


class Store:
    """An open data directory. Use `open`.

    Attributes:
        path: The directory.
        options: What it was opened with.
        checkpoints: How far the sinks are.
        current: The newest published history, None before there is one.
        repairs: What had to be put right when it was opened, for the log.
    """

    def __init__(self, path: Path, options: StoreOptions, lock_fd: int) -> None:
        self.path = path
        self.options = options
        self.current: HistoryStore | None = None
        self.repairs: list[Repair] = []
        self.checkpoints = Checkpoints(path / CHECKPOINTS_NAME)
        self._lock_fd = lock_fd
        self._budget = Budget(options.quota_bytes)
        self._broken = BrokenFiles(path / HISTORIES_NAME)
        self._lock = threading.Lock()  # publish and discard run in threads
        self._published: tuple[HistoryStore, ...] = ()  # oldest first
        self._arriving: tuple[HistoryStore, ...] = ()
        self._last_number = 0

    @classmethod
    def open(cls, path: Path, options: StoreOptions) -> Store:
        """Open a data directory, made when it does not exist, after whatever happened to it.

        Blocking. What a crash left unfinished is removed, torn tails are cut off and kept as
        `.broken`; so is a history before the newest that is damaged. `repairs` tells.

        Args:
            path: The directory.
            options: Layout and limits.

        Returns:
            The store; `close` it.

        Raises:
            DataDirInUseError: Another process has it open.
            CorruptStoreError: The newest history is damaged in a way that no crash explains.
            DiskFullError: No room to repair it.
            DataDirError: It can't be used.
        """
        try:
            if not path.is_dir():
                # It holds what the master holds: nobody else's to read.
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
                fsync_dir(path.parent)
            lock_fd = _lock(path / LOCK_NAME)
        except OSError as exc:
            raise storage_error(exc, path) from exc
        try:
            store = cls(path, options, lock_fd)
            try:
                store._open_histories()
            except BaseException:
                store._close_histories()
                raise
        except BaseException:
            os.close(lock_fd)
            raise
        return store

    def begin_history(self, replid: ReplId, offset: Offset, *, origin: str) -> HistoryStore:
        """Begin a history; it is gone after a restart until it is published.

        Args:
            replid: Its replid.
            offset: Where its stream begins: its first snapshot contains everything below.
            origin: The master it comes from, for people.

        Raises:
            DiskFullError: No room; nothing is left of it.
            OpenFilesError: No more files can be opened just now.
            DataDirError: Its directory could not be made.
        """
        with self._lock:
            # Counted first: what a failure leaves behind must not be in the way of the next one.
            self._last_number = number = self._last_number + 1
            path = self.path / HISTORIES_NAME / f"{number}-{replid[:8]}"
            history = HistoryStore.create(path, number, replid, offset, self.options, self._budget)
            history.origin = origin
            self._arriving = (*self._arriving, history)
            return history

    def publish(self, history: HistoryStore) -> None:
        """Let a history survive a restart and make it the current one; blocking, for a thread.

        The loop may append to it meanwhile.

        Raises:
            DiskFullError: No room; it can be tried again.
            DataDirError: The disk failed.
        """
        history.publish()
        with self._lock:
            self._arriving = tuple(h for h in self._arriving if h is not history)
            self._published = tuple(sorted({*self._published, history}, key=lambda h: h.number))
            self.current = self._published[-1]

    def discard(self, history: HistoryStore) -> None:
        """Remove a history from the disk; blocking, for a thread. Readers with open files go on.

        It can be repeated. Whatever happens, the store does not know the history afterwards, and
        the quota does not count it.

        Raises:
            DataDirError: Something could not be removed; the next open tries again.
        """
        with self._lock:
            self._arriving = tuple(h for h in self._arriving if h is not history)
            self._published = tuple(h for h in self._published if h is not history)
            self.current = self._published[-1] if self._published else None
        try:
            history.remove()
        finally:
            self._budget.leave(history.snapshots)
            self._broken.look()

    def drop_broken(self, enough: Callable[[], bool]) -> list[Path]:
        """Delete what was found damaged and kept, the oldest first, until there is room; blocking.

        Args:
            enough: Tells whether there is.

        Returns:
            What has been deleted.

        Raises:
            DataDirError: Something could not be deleted.
        """

        def recount() -> None:
            for history in self._published:
                history.snapshots.count_broken()

        def counted() -> bool:
            recount()
            return enough()

        try:
            return self._broken.drop(counted)
        finally:
            recount()

    @property
    def published(self) -> tuple[HistoryStore, ...]:
        """The published histories, oldest first."""
        return self._published

    def others(self) -> list[HistoryStore]:
        """The published histories before the current one, oldest first."""
        return list(self._published[:-1])

    def free_bytes(self) -> int:
        """How much more can be stored: what the file system has, or what the quota leaves.

        Raises:
            DataDirError: The file system can't be asked.
        """
        return min(self._file_system_free(), self._budget.left)

    def has_room(self, wanted_bytes: int, min_free_bytes: int) -> bool:
        """Tell whether this much more can be stored.

        Args:
            wanted_bytes: What is to be stored.
            min_free_bytes: What must be left on the file system then; the quota has no such rest.

        Raises:
            DataDirError: The file system can't be asked.
        """
        if self._budget.left <= wanted_bytes:
            return False
        return self._file_system_free() > wanted_bytes + min_free_bytes

    def lacking_bytes(self, wanted_bytes: int, min_free_bytes: int) -> int:
        """Tell how much has to be deleted before this much more can be stored, 0 for nothing.

        Args and Raises: As for `has_room`.
        """
        of_disk = wanted_bytes + min_free_bytes - self._file_system_free()
        return max(0, wanted_bytes - self._budget.left, of_disk)

    def file_system_free_bytes(self) -> int:
        """What the file system has left, whatever the quota.

        Raises:
            DataDirError: It can't be asked.
        """
        return self._file_system_free()

    def disk_bytes(self) -> int:
        """What journals and snapshots of all histories take."""
        return self._budget.disk_bytes

    def close(self) -> None:
        """Make everything durable and release the directory; blocking.

        Unpublished histories are left behind for the next open to remove.

        Raises:
            StoreError: Something could not be made durable; the directory is released all the same.
        """
        if self._lock_fd < 0:
            return
        try:
            for history in self._published:
                job = history.journal.prepare_sync()
                job.run()
                history.journal.synced(job)
        finally:
            self._close_histories()
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _file_system_free(self) -> int:
        try:
            status = os.statvfs(self.path)
        except OSError as exc:
            raise storage_error(exc, self.path) from exc
        return status.f_bavail * status.f_frsize

    def _open_histories(self) -> None:
        directory = self.path / HISTORIES_NAME
        try:
            directory.mkdir(exist_ok=True)
            fsync_dir(self.path)  # what is published below is durable only if this name is
            found = self._find_histories(directory)
        except OSError as exc:
            raise storage_error(exc, directory) from exc
        unfinished = []
        # The newest first: if that is refused, nothing may have been changed.
        for number, path in reversed(found):
            self._last_number = max(self._last_number, number)
            try:
                history = self._open_history(number, path)
            except FileNotFoundError:
                unfinished.append(path)
            except CorruptStoreError as exc:
                if not self._published:
                    raise
                self._set_aside(path, f"no longer needed, and damaged: {exc.message}")
            else:
                self._published = (history, *self._published)
                self.repairs += history.repairs
        for path in unfinished:
            if any((path / SNAPSHOTS_NAME).glob("*.json")):
                # Its metadata is written last, and gone: what is beside it may be wanted.
                self._set_aside(path, "has no history.json, so what it is can't be known")
            else:
                self._remove_unfinished(path)
        if self._published:
            self.current = self._published[-1]
        self._broken.look()
        self._budget.join(self._broken)

    def _find_histories(self, directory: Path) -> list[tuple[int, Path]]:
        """List the directories that are named like histories, oldest first."""
        found = []
        for path in directory.iterdir():
            if not path.is_dir():
                self.repairs.append(Repair(path, None, 0, None, "not a directory, so ignored"))
            elif (number := history_number(path.name)) is not None:
                found.append((number, path))
        return sorted(found)

    def _open_history(self, number: int, path: Path) -> HistoryStore:
        history = HistoryStore.open(path, self.options, self._budget)
        if history.number == number:
            return history
        history.journal.close()
        self._budget.leave(history.snapshots)
        raise CorruptStoreError(
            f"is number {history.number}", path=path, hint="directories have been renamed"
        )

    def _set_aside(self, path: Path, reason: str) -> None:
        """Take a damaged history that is not the newest out of use; one such is kept."""
        kept = path.with_name(path.name + _BROKEN_SUFFIX)
        try:
            for older in path.parent.glob("*" + _BROKEN_SUFFIX):
                if older.is_dir():
                    shutil.rmtree(older)
            path.rename(kept)
            fsync_dir(path.parent)
        except OSError as exc:
            raise storage_error(exc, path) from exc
        self.repairs.append(Repair(path, None, 0, kept, reason))

    def _remove_unfinished(self, path: Path) -> None:
        try:
            shutil.rmtree(path)
            fsync_dir(path.parent)
        except OSError as exc:
            raise storage_error(exc, path) from exc
        self.repairs.append(Repair(path, None, 0, None, "a full sync that was not completed"))

    def _close_histories(self) -> None:
        for history in (*self._published, *self._arriving):
            try:
                history.journal.close()
            except StoreError:
                # The disk fails: `close` is reporting that already, and no descriptor may stay.
                continue


def _lock(path: Path) -> int:
    """Take the directory's lock.

    Returns:
        The descriptor that holds it, for as long as it is open.

    Raises:
        DataDirInUseError: Another process has it.
        OSError: The file can't be made.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError:
        holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
        os.close(fd)
        raise DataDirInUseError(
            f"in use by process {holder or 'unknown'}",
            path=path.parent,
            hint="one repltap per data directory; stop the other one",
        ) from None
    except OSError:
        os.close(fd)
        raise
    return fd
