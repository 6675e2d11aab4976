"""One history on disk: its names, its journal, its snapshots.

    histories/7-0123abcd/history.json   published last; without it the directory is an unfinished
                        /journal/       intake, and is removed when the store is opened
                        /snapshots/

`history.json` holds `number`, `replid`, `predecessors` (replid and the offset up to which it named
the history, newest first), `start_offset`, `origin` (the master it came from, for people),
`start_db` (the database selected at the start of the stream) and `created_at`. A file that is there
but can't be believed is not an unfinished intake: the store refuses to open, and removes nothing.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from repltap.errors import StoreError
from repltap.position import History, Offset, Predecessor, ReplId, parse_replid
from repltap.store.budget import Budget
from repltap.store.journal import Journal
from repltap.store.metadata import (
    corrupt_metadata,
    fsync_dir,
    load_json,
    publish_json,
    storage_error,
)
from repltap.store.options import StoreOptions
from repltap.store.recovery import Repair
from repltap.store.snapshots import Snapshots

METADATA_NAME = "history.json"
JOURNAL_NAME = "journal"
SNAPSHOTS_NAME = "snapshots"

_REMOVE_ATTEMPTS = 1000
"""Each that fails has found a file that somebody else has deleted just then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryMetadata:
    """What `history.json` says; see `HistoryStore`."""

    number: int
    history: History
    start_offset: Offset
    start_db: int
    origin: str
    created_at: float


def load_metadata(path: Path) -> HistoryMetadata:
    """Read the `history.json` of a history.

    Args:
        path: The history's directory.

    Raises:
        FileNotFoundError: It was never published.
        CorruptStoreError: It can't be believed.
        DataDirError: It can't be read.
    """
    fields = load_json(path / METADATA_NAME)
    try:
        predecessors = tuple(
            Predecessor(parse_replid(str(p["replid"]).encode()), Offset(int(p["until"])))
            for p in cast("list[dict[str, str]]", fields["predecessors"])
        )
        return HistoryMetadata(
            number=int(cast("int", fields["number"])),
            history=History(parse_replid(str(fields["replid"]).encode()), predecessors),
            start_offset=Offset(int(cast("int", fields["start_offset"]))),
            start_db=int(cast("int", fields["start_db"])),
            origin=str(fields.get("origin", "")),
            created_at=float(cast("float", fields["created_at"])),
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise corrupt_metadata(
            path / METADATA_NAME, f"lacks a field or has a wrong one: {exc}"
        ) from exc


class HistoryStore:
    """A history and what is stored of it. Use `create` or `open`.

    Attributes:
        number: Of its directory; a later history has a higher one.
        path: Its directory.
        history: Its replid and the ones before; changed by `shift` alone.
        journal: Its stream.
        snapshots: Its snapshots.
        start_offset: Where its stream began; the journal may begin later.
        start_db: The database selected there. Set it before the history is published.
        origin: The master it came from, for people.
        created_at: When it began, Unix seconds.
        published: It will be there after a restart.
        known_end: How far its stream is known to go: it had come so far under the same replid
            before a full resync began the journal again, further back. 0 when that is not so.
        disputed: Its master has sent other bytes than it holds: what follows goes elsewhere.
    """

    def __init__(self, path: Path, number: int, history: History, journal: Journal) -> None:
        self.path = path
        self.number = number
        self.history = history
        self.journal = journal
        self.snapshots: Snapshots
        self.start_offset = journal.start
        self.start_db = 0
        self.origin = ""
        self.created_at = time.time()
        self.published = False
        self.known_end = Offset(0)
        self.disputed = False
        # Publication runs in a thread; a shift meanwhile must not be lost.
        self._metadata_lock = threading.Lock()

    @classmethod
    def create(
        cls,
        path: Path,
        number: int,
        replid: ReplId,
        offset: Offset,
        options: StoreOptions,
        budget: Budget,
    ) -> HistoryStore:
        """Begin a history in a new directory; on failure nothing is left of it.

        Raises:
            DiskFullError: No room.
            OpenFilesError: No more files can be opened just now.
            DataDirError: The directory could not be made.
        """
        try:
            path.mkdir()
        except OSError as exc:
            raise storage_error(exc, path) from exc
        try:
            journal = Journal.create(path / JOURNAL_NAME, offset, options, budget)
            try:
                store = cls(path, number, History(replid), journal)
                store.snapshots = Snapshots(path / SNAPSHOTS_NAME, budget)
            except BaseException:
                journal.close()
                raise
        except BaseException:
            # What can't be removed either is taken for an unfinished intake by the next open.
            shutil.rmtree(path, ignore_errors=True)
            raise
        return store

    @classmethod
    def open(cls, path: Path, options: StoreOptions, budget: Budget) -> HistoryStore:
        """Open a published history; blocking.

        Raises:
            FileNotFoundError: It was never published.
            CorruptStoreError: It is damaged in a way that no crash explains.
            DiskFullError: No room to repair it.
            DataDirError: It can't be read or written.
        """
        said = load_metadata(path)
        journal = Journal.open(path / JOURNAL_NAME, options, budget)
        store = cls(path, said.number, said.history, journal)
        store.start_offset, store.start_db = said.start_offset, said.start_db
        store.origin, store.created_at = said.origin, said.created_at
        try:
            store.snapshots = Snapshots(path / SNAPSHOTS_NAME, budget)
        except BaseException:
            journal.close()
            raise
        store.published = True
        return store

    @property
    def repairs(self) -> list[Repair]:
        """What had to be put right when it was opened."""
        return [*self.journal.repairs, *self.snapshots.repairs]

    @property
    def disk_bytes(self) -> int:
        """What it takes on the disk."""
        return self.journal.disk_bytes + self.snapshots.disk_bytes

    def follow(self, old: HistoryStore) -> None:
        """Take note of what was served before this history."""
        if old.history.replid == self.history.replid and not old.disputed:
            self.known_end = max(old.journal.end, old.known_end)

    def shift(self, replid: ReplId, at: Offset) -> None:
        """The history goes on under a new replid from `at`; what is past `at` is not part of it.

        Blocking, and durable when it returns. The bytes go first, durably, then the name changes:
        a crash in between leaves a shorter journal under the old replid, which is the truth, and
        the master answers the next PSYNC in the same way again. The other order would leave the
        old master's bytes under the new master's name.

        Args:
            replid: The new replid.
            at: The offset up to which the old one holds; within the journal.

        Raises:
            NotRetainedError: The journal does not hold `at`; nothing was changed.
            DiskFullError: No room; the history has its old name still.
            DataDirError: The disk failed; the history has its old name still.
        """
        self.journal.truncate(at)
        self.snapshots.remove_above(at)
        self.known_end = Offset(0)
        with self._metadata_lock:
            shifted = self.history.shifted(replid, at)
            if self.published:
                self._write_metadata(shifted)
            self.history = shifted

    def publish(self) -> None:
        """Make it durable and let it survive a restart; blocking, for a thread.

        The loop may append meanwhile: only files are touched here, no state of the journal. What
        is appended later becomes durable by its own sync.

        Raises:
            DiskFullError: No room; it can be tried again.
            DataDirError: The disk failed.
        """
        try:
            for directory in (self.journal.path, self.snapshots.path):
                for path in directory.iterdir():
                    _fsync_file(path)
                fsync_dir(directory)
            fsync_dir(self.path)
            fsync_dir(self.path.parent)
        except OSError as exc:
            raise storage_error(exc, self.path) from exc
        with self._metadata_lock:
            self._write_metadata(self.history)
            self.published = True

    def remove(self) -> None:
        """Close it and delete its directory; blocking. Readers with open files go on.

        It can be repeated, also when it is gone already.

        Raises:
            DataDirError: Something could not be deleted; opening the store tries again.
        """
        try:
            self.journal.close()
        except StoreError:
            pass  # what it could not write is about to be deleted
        with self._metadata_lock:
            self.published = False
            try:
                # First what makes it a published history: half of one must never be opened.
                (self.path / METADATA_NAME).unlink(missing_ok=True)
                if self.path.exists():
                    fsync_dir(self.path)
                    _remove_tree(self.path)
                    fsync_dir(self.path.parent)
            except OSError as exc:
                raise storage_error(exc, self.path) from exc

    def _write_metadata(self, history: History) -> None:
        publish_json(
            self.path / METADATA_NAME,
            {
                "number": self.number,
                "replid": history.replid,
                "predecessors": [
                    {"replid": p.replid, "until": p.until} for p in history.predecessors
                ],
                "start_offset": self.start_offset,
                "origin": self.origin,
                "start_db": self.start_db,
                "created_at": self.created_at,
            },
        )


def _fsync_file(path: Path) -> None:
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return  # renamed or trimmed meanwhile
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _remove_tree(path: Path) -> None:
    """Delete a directory whose files others (`Trimmed.delete`, a writer) may be deleting too."""
    for _ in range(_REMOVE_ATTEMPTS):
        try:
            shutil.rmtree(path)
            return
        except FileNotFoundError:
            if not path.exists():
                return
    shutil.rmtree(path)
