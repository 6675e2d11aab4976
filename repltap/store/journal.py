"""The journal: one history's stream bytes in segments, appended at the end, trimmed at the start.

It owns a `journal/` directory (see `format`). One caller appends; readers take segments and read or
`sendfile` on their own. An append only goes to the page cache: `prepare_sync` begins making it
durable. What is stored is never changed, except that `truncate` takes bytes from the end.

Appending does not lock, and may not run at the same time as `truncate`. The rest may be called from
any thread.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from pathlib import Path

from repltap.errors import DataDirError, DiskFullError, NotRetainedError
from repltap.position import Offset
from repltap.store import format as layout
from repltap.store import timemap
from repltap.store.appender import CREATE, Appender
from repltap.store.budget import Budget
from repltap.store.cutting import Cut, plan_cut
from repltap.store.metadata import storage_error
from repltap.store.options import StoreOptions
from repltap.store.recovery import Repair, recover_journal
from repltap.store.segment import Segment
from repltap.store.sync import SyncJob
from repltap.store.trimming import DetachedFiles, Trimmed, trimmed


class Journal(Appender):
    """An open journal. Use `create` or `open`.

    Attributes:
        path: Its directory.
        start: The first offset that is held.
        end: The offset after the last byte held.
        durable_end: Everything below it survives a power failure.
        repairs: What recovery had to put right when it was opened.
    """

    def __init__(
        self,
        path: Path,
        segments: list[Segment],
        time_ns: int,
        options: StoreOptions,
        budget: Budget,
    ) -> None:
        super().__init__(path, segments, time_ns, options, budget)
        self.durable_end = self.end
        self.repairs: list[Repair] = []
        self._names_synced = 0  # how many of the changes of names a sync has made durable
        self._generation = 0  # counts truncations
        self._cut: Cut | None = None  # a truncation that the files do not show yet
        self._detached = DetachedFiles()
        self._mark_fd = -1
        try:
            self._mark_fd = os.open(path / layout.MARK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
            self._write_mark()
        except BaseException:
            self._close_files()
            raise
        budget.join(self)

    @classmethod
    def create(cls, path: Path, start: Offset, options: StoreOptions, budget: Budget) -> Journal:
        """Begin an empty journal in a new directory.

        Args:
            path: The directory to make.
            start: The offset of the first byte it will hold.
            options: Segment and index sizes.
            budget: The quota it counts against.

        Raises:
            DiskFullError: There is no room.
            DataDirError: It could not be made.
        """
        try:
            path.mkdir()
            for name in (layout.index_path(path, start), layout.segment_path(path, start)):
                os.close(os.open(name, CREATE, 0o644))
            segment = Segment(layout.segment_path(path, start), start, start, verified=True)
            journal = cls(path, [segment], 0, options, budget)
        except OSError as exc:
            raise storage_error(exc, path) from exc
        journal._names_changed += 1
        return journal

    @classmethod
    def open(cls, path: Path, options: StoreOptions, budget: Budget) -> Journal:
        """Open a journal that exists, after whatever happened to it; blocking.

        Args:
            path: Its directory.
            options: Segment and index sizes; they may differ from those it was written with.
            budget: The quota it counts against.

        Raises:
            CorruptStoreError: It is damaged in a way that no crash explains; nothing was changed.
            DiskFullError: There is no room to repair it.
            DataDirError: It can't be read or written.
        """
        recovered = recover_journal(path)
        try:
            journal = cls(path, recovered.segments, recovered.time_ns, options, budget)
        except OSError as exc:
            raise storage_error(exc, path) from exc
        journal.repairs = recovered.repairs
        return journal

    @property
    def disk_bytes(self) -> int:
        """What it takes on the disk: indexes included, and what was trimmed but not deleted yet."""
        return super().disk_bytes + self._detached.disk_bytes

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments now, oldest first."""
        return self._segments

    @property
    def unverified(self) -> tuple[Segment, ...]:
        """The segments that were there before the start and have not been verified, oldest first.

        Recovery reads the last segment only; `Segment.verify` is for the others, in a thread.
        """
        return tuple(segment for segment in self._segments if not segment.verified)

    def truncate(self, at: Offset) -> None:
        """Take back everything from `at` on; blocking, durable when it returns.

        A failure before anything is changed leaves the journal as it is. After that it ends at
        `at`, for readers too, and only the files lag behind: that is made up for by the next
        `truncate`, `append` or `prepare_sync`, which fails as long as it can't be. After a crash
        the journal may end later than `at` still, or up to an index interval earlier.

        Raises:
            NotRetainedError: `at` is not within the journal.
            CorruptStoreError: What is stored around `at` is damaged; nothing was changed.
            DiskFullError: No room for the record that covers the new end.
            OpenFilesError: No more files can be opened just now.
            DataDirError: The disk failed, or the journal is closed.
        """
        with self._lock:
            self._require(at)
            self._settle()
            if at == self.end:
                return
            keep = bisect_right(self._segments, at, key=lambda s: s.start)
            if keep == len(self._segments):
                self._write_record(self._appended_ns)
            self._generation += 1
            try:
                cut = plan_cut(self._segments[keep - 1], at, self._segments[keep:])
                # Durable before any byte goes: a mark past what the index covers would make
                # recovery refuse what a power failure does to the end, now or after appends.
                self.durable_end = min(self.durable_end, cut.covered)
                self._write_mark()
                os.fsync(self._mark_fd)
            except OSError as exc:
                raise storage_error(exc, self.path) from exc
            self._forget(cut)
            self._settle()

    def trim(self, keep_from: Offset) -> Trimmed:
        """Detach the segments that lie entirely below an offset, never the last one.

        Quick, for the event loop: from now on the journal begins later. The files are still there
        until `Trimmed.delete` has run in a thread, and until then they count against the quota.
        Without it they are part of the journal again when it is opened. Readers that have acquired
        a segment go on reading it.

        Args:
            keep_from: The lowest offset that is still needed.

        Returns:
            What is to be deleted; its `paths` are empty when nothing is.
        """
        with self._lock:
            segments = self._segments
            count = 0
            while count < len(segments) - 1 and segments[count].end <= keep_from:
                count += 1
            gone = list(segments[:count])
            self._segments = segments[count:]
            self.start = self._segments[0].start
            self._closed_bytes -= sum(segment.disk_bytes for segment in gone)
            self._unsynced = [segment for segment in self._unsynced if segment not in gone]
            return trimmed(gone, self._detached)

    # -- reading ---------------------------------------------------------------------------------

    def segment_at(self, offset: Offset) -> Segment:
        """Find the segment that holds, or will hold, the byte at `offset`; acquire it to read.

        At the end of the journal that is the last segment, even when it is full: its successor
        exists only once there is a byte for it. So a reader at the end of its segment asks again
        when the journal's end has passed it.

        Raises:
            NotRetainedError: `offset` is below the journal's start or above its end.
        """
        segments = self._segments
        if offset >= segments[-1].start:
            if offset > self.end:
                self._require(offset)
            return segments[-1]
        if offset < segments[0].start:
            self._require(offset)
        return segments[bisect_right(segments, offset, key=lambda s: s.start) - 1]

    def read(self, start: Offset, size: int) -> bytes:
        """Read up to `size` bytes from `start`, fewer at the journal's end.

        Raises:
            NotRetainedError: The journal does not hold `start` (any more, or yet).
            DataDirError: The disk failed.
        """
        parts = []
        size = min(size, self.end - start)
        if size <= 0:
            self._require(start)
        while size > 0:
            part = self.segment_at(start).read(start, size)
            if not part:
                raise NotRetainedError(f"offset {start} is gone", path=self.path)
            parts.append(part)
            start = Offset(start + len(part))
            size -= len(part)
        return b"".join(parts)

    def time_of(self, offset: Offset) -> int | None:
        """Tell when the byte at `offset` came in; see `timemap.time_of`."""
        return timemap.time_of(self.segment_at(offset), offset)

    def offset_at(self, time_ns: int) -> Offset | None:
        """Tell how far the stream had come at a time; see `timemap.offset_at`."""
        return timemap.offset_at(self._segments, time_ns)

    # -- making it durable -----------------------------------------------------------------------

    def prepare_sync(self) -> SyncJob:
        """Begin to make everything appended so far durable.

        Returns:
            A job whose `run` does the waiting, in a thread. Report with `synced` when it returns.

        Raises:
            DiskFullError: No room for the index record.
            DataDirError: The disk failed.
        """
        with self._lock:
            if not self._closed:
                self._settle()
            self._write_record(self._appended_ns)
            files: list[int] = []
            directory = None
            names = self._names_changed + self._detached.deleted
            try:
                if self.end != self.durable_end:
                    for segment in self._unsynced:
                        index = layout.index_path(self.path, segment.start)
                        files.append(os.open(segment.path, os.O_RDONLY))
                        files.append(os.open(index, os.O_RDONLY))
                    files += [os.dup(self._data_fd), os.dup(self._index_fd)]
                if names != self._names_synced:
                    directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            except OSError as exc:
                for fd in files:
                    os.close(fd)
                raise storage_error(exc, self.path) from exc
            return SyncJob(
                self.path,
                self.end,
                files,
                directory,
                generation=self._generation,
                names=names,
            )

    def synced(self, job: SyncJob) -> None:
        """Note that a job has run without an error: what it covers is durable now."""
        with self._lock:
            # After a truncation the offsets the job speaks of may hold other bytes.
            if self._closed or job.generation != self._generation:
                return
            self._names_synced = max(self._names_synced, job.names)
            self._unsynced = [s for s in self._unsynced if s.end > job.end]
            if job.end > self.durable_end:
                self.durable_end = job.end
                self._write_mark()

    def close(self) -> None:
        """Write what the index lacks and close the files; no fsync. Readers go on."""
        with self._lock:
            if self._closed:
                return
            try:
                self._write_record(self._appended_ns)
            except DiskFullError:
                pass  # costs at most an interval of bytes, which the master sends again
            finally:
                self._closed = True
                self._fast_end = self.end
                self._close_files()
                self._budget.leave(self)

    def _close_files(self) -> None:
        self._close_last()
        if self._mark_fd >= 0:
            os.close(self._mark_fd)
        self._mark_fd = -1

    def _forget(self, cut: Cut) -> None:
        """End where the cut ends; the files follow in `_settle`."""
        self._cut = cut
        self._close_last()
        self._pending = self._crc = 0
        for segment in cut.removed:
            segment.cut(segment.start, 0)
        cut.segment.cut(cut.at, cut.index_bytes)
        self._segments = self._segments[: -len(cut.removed)] if cut.removed else self._segments
        self.end = cut.at
        self._fast_end = -1  # every append asks
        self._closed_bytes = sum(segment.disk_bytes for segment in self._segments[:-1])
        self._unsynced = [s for s in self._unsynced if s.start < cut.segment.start]
        self._names_changed += len(cut.removed)

    def _settle(self) -> None:
        """Let the files follow a truncation, unless they have; durable, and blocking if not."""
        if self._closed:
            raise DataDirError("the journal is closed", path=self.path)
        cut = self._cut
        if cut is None:
            return
        try:
            cut.apply()
            self._open_last()
        except OSError as exc:
            raise storage_error(exc, self.path) from exc
        self._cut = None
        if self.durable_end == cut.covered:
            self.durable_end = cut.at  # it has fsynced the segment

    def _write_mark(self) -> None:
        """Say in `durable.mark` how far fsync has got; a hint, see `format`."""
        try:
            os.pwrite(self._mark_fd, layout.pack_mark(self.durable_end), 0)
        except OSError as exc:
            raise storage_error(exc, self.path / layout.MARK_NAME) from exc

    def _require(self, offset: Offset) -> None:
        """Raise NotRetainedError unless `start <= offset <= end`."""
        if not self.start <= offset <= self.end:
            raise NotRetainedError(
                f"offset {offset} is not held: the journal has {self.start} to {self.end}",
                path=self.path,
            )
