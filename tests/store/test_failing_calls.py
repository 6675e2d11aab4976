"""Every system call of a store's life fails once, in turn: nothing stored is lost or damaged.

One life goes through all that a store does. Where there is no room it does what the relay does: it
tries again. Where the disk fails it ends. Then the store is opened again, and has to hold what was
there: a prefix of the stream with nothing of what was durable missing, and whole snapshots.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from repltap.errors import DataDirError, DiskFullError, OpenFilesError
from repltap.position import Offset, ReplId
from repltap.store import appender
from repltap.store.history import HistoryStore
from repltap.store.options import StoreOptions
from repltap.store.store import Store
from tests.protocol.ways import rdb
from tests.stored import add_snapshot, open_fds

A, B, C = (ReplId(letter * 40) for letter in "abc")
OPTIONS = StoreOptions(segment_bytes=1000, index_interval_bytes=150)
SECOND = 10**9

_CALLS = (
    "open",
    "pwrite",
    "write",
    "fsync",
    "fdatasync",
    "rename",
    "replace",
    "unlink",
    "mkdir",
    "rmdir",
    "truncate",
    "ftruncate",
)


class Faults:
    """Counts the calls that change a file below a directory, and lets one of them fail."""

    def __init__(self, below: Path, failing: int, code: int) -> None:
        self.calls = 0
        self.name = ""
        self._below = str(below)
        self._failing = failing
        self._code = code

    def wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if self._counts(name, args):
                self.calls += 1
                if self.calls == self._failing:
                    self.name = name
                    raise OSError(self._code, os.strerror(self._code))
            if name in ("fsync", "fdatasync"):
                return None  # it costs the test a minute, and no power fails here
            return real(*args, **options)

        return call

    def _counts(self, name: str, args: tuple[Any, ...]) -> bool:
        target = args[0]
        if isinstance(target, int):
            return True
        return str(target).startswith(self._below)


@contextmanager
def faults(below: Path, failing: int, code: int) -> Iterator[Faults]:
    """Let the call number `failing` (from 1; 0 for none) fail with an error code."""
    made = Faults(below, failing, code)
    with pytest.MonkeyPatch.context() as patch:
        for name in _CALLS:
            patch.setattr(os, name, made.wrap(name, getattr(os, name)))
        patch.setattr(appender, "_pwrite", os.pwrite)
        opened = made.wrap("open", io.open)
        patch.setattr(builtins, "open", opened)
        yield made


def stream(replid: ReplId, start: int, end: int) -> bytes:
    """The bytes of a history from one offset to another: none is like another history's."""
    return bytes((offset * 7 + ord(replid[0])) % 251 for offset in range(start, end))


class Life:
    """What is done to the store, and what may be expected of it afterwards."""

    def __init__(self, path: Path) -> None:
        self.store = Store.open(path, OPTIONS)
        self.published: ReplId | None = None
        self.names: dict[ReplId, ReplId] = {A: A, C: C, B: A}  # whose bytes a name stands for
        self.shifted_at = 0
        self.durable = 0
        self.clock = 1_800_000_000 * SECOND

    def run(self) -> None:
        """Go through all of it; DataDirError ends it."""
        history = self.again(lambda: self.store.begin_history(A, Offset(100), origin="m"))
        self.again(lambda: add_snapshot(history, rdb(bytes(300)), offset=100))
        self.publish(history)
        self.grow(history, A, 2500)
        self.sync(history)
        self.again(lambda: add_snapshot(history, rdb(bytes(200)), offset=history.journal.end))
        self.grow(history, A, 1500)
        self.again(history.journal.trim(Offset(1200)).delete)
        self.again(lambda: history.snapshots.remove(history.snapshots.all[-1]))
        at = Offset(history.journal.end - 1300)
        self.shifted_at, self.durable = at, min(self.durable, at)
        self.again(lambda: history.shift(B, at))
        self.published = B
        self.grow(history, B, 900)
        self.sync(history)
        other = self.again(lambda: self.store.begin_history(C, Offset(50), origin="m"))
        self.again(lambda: add_snapshot(other, rdb(bytes(100)), offset=50))
        self.publish(other)
        self.durable = 0
        self.again(lambda: self.store.discard(history))
        self.grow(other, C, 1700)
        self.sync(other)
        self.again(self.store.close)

    def again(self, step: Callable[[], Any]) -> Any:
        """Take a step, and once more when there was no room for it."""
        try:
            return step()
        except (DiskFullError, OpenFilesError):
            return step()

    def publish(self, history: HistoryStore) -> None:
        self.again(lambda: self.store.publish(history))
        self.published = history.history.replid

    def grow(self, history: HistoryStore, replid: ReplId, size: int) -> None:
        journal = history.journal
        end = journal.end + size

        def append() -> None:
            while journal.end < end:
                to = min(end, journal.end + 90)
                journal.append(stream(replid, journal.end, to), self.clock)
                self.clock += SECOND // 100
                journal.flush_index(self.clock)

        self.again(append)

    def sync(self, history: HistoryStore) -> None:
        def step() -> None:
            job = history.journal.prepare_sync()
            job.run()
            history.journal.synced(job)
            self.durable = history.journal.durable_end

        self.again(step)

    def check(self, store: Store) -> None:
        """Compare what is stored with what has to be."""
        history = store.current
        if self.published is None:
            return  # it may be there or not
        assert history is not None
        replid = history.history.replid
        journal = history.journal
        assert journal.end >= self.durable or replid != self.published
        held = journal.read(journal.start, journal.end - journal.start)
        expected = stream(replid, journal.start, journal.end)
        if replid in (A, B):
            old = stream(A, journal.start, journal.end)
            cut = max(0, min(len(old), self.shifted_at - journal.start))
            # Before the shift, all of it is the old master's; after it, what is below it is.
            choices = [old, old[:cut] + stream(B, journal.start, journal.end)[cut:]]
            assert held in choices[replid == B :]
        else:
            assert held == expected
        for snapshot in history.snapshots.all:
            snapshot.verify()


def _total_calls(path: Path) -> int:
    with faults(path, 0, 0) as counted:
        Life(path).run()
    return counted.calls


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO], ids=errno.errorcode.get)
def test_each_call_fails_once(tmp_path: Path, code: int) -> None:
    total = _total_calls(tmp_path / "whole")
    assert total > 150
    before = open_fds()
    for failing in range(1, total + 1):
        path = tmp_path / str(failing)
        life: Life | None = None
        ended = False
        with faults(path, failing, code) as made:
            try:
                life = Life(path)
                life.run()
                ended = True
            except (DiskFullError, DataDirError):
                if life is not None:
                    try:
                        life.store.close()
                    except (DiskFullError, DataDirError):
                        pass
            where = f"{made.name}, call {failing} of {total}"
        assert ended or code == errno.EIO or life is None, where
        with faults(path, 0, 0):
            store = Store.open(path, OPTIONS)
            try:
                if life is not None:
                    life.check(store)
                    if ended:
                        assert store.current is not None, where
                        assert store.current.journal.end == 50 + 1700, where
            except AssertionError as failure:
                raise AssertionError(where) from failure
            finally:
                store.close()
    assert open_fds() == before
