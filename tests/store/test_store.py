import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from repltap.errors import (
    CorruptStoreError,
    DataDirError,
    DataDirInUseError,
    DiskFullError,
    NotRetainedError,
)
from repltap.position import Offset, ReplId
from repltap.store.history import HistoryStore
from repltap.store.options import StoreOptions
from repltap.store.store import Store
from tests.servers.waiting import PATIENCE_SECONDS
from tests.stored import SET, hold, open_fds, open_store

A, B = (ReplId(c * 40) for c in "ab")
OPTIONS = StoreOptions(segment_bytes=1000, index_interval_bytes=100)


def full_sync(store: Store, replid: ReplId, offset: int) -> HistoryStore:
    history = store.begin_history(replid, Offset(offset), origin="m:6379")
    writer = history.snapshots.begin(Offset(offset))
    writer.write(b"REDIS0011" + b"x" * 91)
    writer.publish(format="REDIS0011", crc64=0, aux={}, duration_seconds=0.1, now=1.0)
    return history


def test_empty_then_published_then_reopened(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "new" / "data", OPTIONS)
    assert (store.current, store.others(), store.disk_bytes()) == (None, [], 0)
    history = full_sync(store, A, 100)
    assert store.current is None
    history.journal.append(b"hello", 1)
    store.publish(history)
    assert store.current is history
    assert history.path.name == "1-aaaaaaaa"
    store.close()
    store.close()
    again = Store.open(store.path, OPTIONS)
    assert again.repairs == []
    assert again.current is not None
    assert again.current.journal.read(Offset(100), 99) == b"hello"
    assert again.current.origin == "m:6379"
    assert again.disk_bytes() == 100 + 5 + 24
    again.close()


def test_an_unfinished_intake_is_removed(tmp_path: Path) -> None:
    store = Store.open(tmp_path, OPTIONS)
    store.publish(full_sync(store, A, 100))
    lost = full_sync(store, B, 900)
    store.close()
    assert lost.path.exists()
    again = Store.open(tmp_path, OPTIONS)
    assert not lost.path.exists()
    assert [repair.path for repair in again.repairs] == [lost.path]
    assert again.current is not None
    assert again.current.history.replid == A
    assert full_sync(again, B, 900).number == 3
    again.close()


def test_a_newer_history_takes_over_and_the_older_can_be_discarded(tmp_path: Path) -> None:
    store = Store.open(tmp_path, OPTIONS)
    old = full_sync(store, A, 100)
    old.journal.append(b"old", 1)
    store.publish(old)
    new = full_sync(store, B, 50)
    store.publish(new)
    store.publish(new)
    assert (store.current, store.others()) == (new, [old])
    segment = old.journal.segment_at(Offset(100))
    segment.acquire()
    store.discard(old)
    store.discard(old)
    assert (store.current, store.others()) == (new, [])
    assert os.pread(segment.fd, 9, 0) == b"old"
    segment.release()
    with pytest.raises(NotRetainedError):
        segment.acquire()
    assert store.disk_bytes() == new.disk_bytes
    store.close()
    assert len(os.listdir(tmp_path / "histories")) == 1


def test_one_process_at_a_time(tmp_path: Path) -> None:
    store = Store.open(tmp_path, OPTIONS)
    with pytest.raises(DataDirInUseError, match=f"process {os.getpid()}") as caught:
        Store.open(tmp_path, OPTIONS)
    assert caught.value.path == tmp_path
    store.close()
    Store.open(tmp_path, OPTIONS).close()


def test_quota_holds_for_journal_and_snapshots_together(tmp_path: Path) -> None:
    store = Store.open(tmp_path, StoreOptions(segment_bytes=1000, quota_bytes=2000))
    history = full_sync(store, A, 0)
    history.journal.append(b"x" * 500, 1)
    assert store.free_bytes() <= 1400
    writer = history.snapshots.begin(Offset(500))
    with pytest.raises(DiskFullError):
        writer.write(b"y" * 2000)
    with pytest.raises(DiskFullError):
        history.journal.append(b"x" * 2000, 1)
    assert 1900 <= store.disk_bytes() <= 2000 + 24 * 2
    assert store.free_bytes() == 0
    writer.discard()
    history.journal.append(b"z" * 200, 1)
    store.close()


def test_places_that_can_not_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/repltap")):
        with pytest.raises(DataDirError) as caught:
            Store.open(path, OPTIONS)
        assert caught.value.path == path


def test_a_refused_store_lets_go_of_its_lock_and_changes_nothing(tmp_path: Path) -> None:
    store = Store.open(tmp_path, OPTIONS)
    history = full_sync(store, A, 0)
    history.journal.append(b"x" * 3500, 1)
    store.publish(history)
    store.close()
    segment = history.path / "journal" / f"{1000:020d}.seg"
    segment.unlink()
    before = sorted(tmp_path.rglob("*"))
    for _ in range(2):
        with pytest.raises(CorruptStoreError, match=segment.name):
            Store.open(tmp_path, OPTIONS)
    assert sorted(tmp_path.rglob("*")) == before


def test_renamed_directories_are_refused(tmp_path: Path) -> None:
    store = Store.open(tmp_path, OPTIONS)
    history = full_sync(store, A, 0)
    store.publish(history)
    store.close()
    history.path.rename(history.path.with_name("7-aaaaaaaa"))
    with pytest.raises(CorruptStoreError, match="renamed"):
        Store.open(tmp_path, OPTIONS)


def test_killed_process(tmp_path: Path) -> None:
    """A real process dies without closing anything: what its index covered is there."""
    program = """
import os, sys, pathlib
from repltap.store.store import Store
from repltap.store.options import StoreOptions
options = StoreOptions(segment_bytes=1000, index_interval_bytes=100)
store = Store.open(pathlib.Path(sys.argv[1]), options)
history = store.begin_history("a" * 40, 0, origin="x")
store.publish(history)
for number in range(1000):
    history.journal.append(b"%07d\\n" % number, 1)
os.kill(os.getpid(), 9)
"""
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], check=False, timeout=PATIENCE_SECONDS
    )
    store = Store.open(tmp_path, OPTIONS)
    assert store.current is not None
    journal = store.current.journal
    stream = b"".join(b"%07d\n" % number for number in range(1000))
    assert 7850 < journal.end <= 8000
    assert journal.read(Offset(0), 9999) == stream[: journal.end]
    store.close()


@pytest.mark.parametrize("call", ["open", "pwrite", "mkdir"])
def test_regression_a_failed_begin_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Found in review: ENOSPC left three descriptors, and a directory that failed the next try.

    Every call that takes room fails once, in turn, until one attempt gets through.
    """
    store = Store.open(tmp_path, OPTIONS)
    descriptors = len(open_fds())
    real = getattr(os, call)
    calls_left = 0

    def fail_one(*args: object, **options: object) -> object:
        nonlocal calls_left
        calls_left -= 1
        if calls_left == -1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args, **options)

    for failing in range(20):
        calls_left = failing
        monkeypatch.setattr(os, call, fail_one)
        try:
            history = store.begin_history(A, Offset(100), origin="m:6379")
            break
        except DiskFullError:
            assert os.listdir(tmp_path / "histories") == []
            assert len(open_fds()) == descriptors
            assert store.disk_bytes() == 0
        finally:
            monkeypatch.undo()
    assert failing > 0
    assert history.number == failing + 1
    store.publish(history)
    store.close()


def two_histories(path: Path) -> tuple[HistoryStore, HistoryStore]:
    """As after a crash between the publication of the newer and the removal of the older."""
    store = Store.open(path, OPTIONS)
    old, new = full_sync(store, A, 0), full_sync(store, B, 500)
    for history in (old, new):
        history.journal.append(b"x" * 3500, 1)
        store.publish(history)
    store.close()
    return old, new


@pytest.mark.parametrize("damage", ["segment", "metadata", "number"])
def test_regression_a_damaged_older_history_is_set_aside(tmp_path: Path, damage: str) -> None:
    """Found in review: one that was about to be discarded stopped the start with exit 5."""
    old, new = two_histories(tmp_path)
    path = old.path
    if damage == "segment":
        (path / "journal" / f"{1000:020d}.seg").unlink()
    elif damage == "metadata":
        (path / "history.json").write_bytes(b"{}")
    else:
        path = path.rename(path.with_name("0-aaaaaaaa"))
    earlier = path.with_name("0-cccccccc.broken")
    earlier.mkdir()
    descriptors = len(open_fds())
    store = Store.open(tmp_path, OPTIONS)
    assert store.current is not None
    assert (store.current.number, store.others()) == (2, [])
    (repair,) = store.repairs
    assert (repair.path, repair.kept) == (path, path.with_name(path.name + ".broken"))
    assert "damaged" in repair.reason
    assert sorted(os.listdir(new.path.parent)) == sorted([path.name + ".broken", "2-bbbbbbbb"])
    kept = sum(file.stat().st_size for file in repair.kept.rglob("*") if file.is_file())
    assert store.disk_bytes() == store.current.disk_bytes + kept
    store.close()
    assert len(open_fds()) == descriptors
    again = Store.open(tmp_path, OPTIONS)
    assert again.repairs == []
    again.close()


def test_a_damaged_newest_history_is_refused_before_anything_is_changed(tmp_path: Path) -> None:
    old, new = two_histories(tmp_path)
    (old.path / "history.json").write_bytes(b"{}")
    (new.path / "history.json").write_bytes(b"{}")
    (new.path.with_name("3-cccccccc")).mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CorruptStoreError, match="2-bbbbbbbb"):
        Store.open(tmp_path, OPTIONS)
    assert sorted(tmp_path.rglob("*")) == before


def test_regression_a_stray_file_among_the_histories_is_ignored(tmp_path: Path) -> None:
    """Found in review: `touch histories/7-deadbeef` stopped the start with exit 4."""
    _, new = two_histories(tmp_path)
    strays = [new.path.with_name(name) for name in ("7-deadbeef", "notes")]
    for stray in strays:
        stray.write_bytes(b"")
    store = Store.open(tmp_path, OPTIONS)
    assert sorted(repair.path for repair in store.repairs) == strays
    assert all("not a directory" in repair.reason for repair in store.repairs)
    assert store.current is not None
    assert store.current.number == 2
    store.close()
    assert all(stray.exists() for stray in strays)


def test_regression_a_discard_that_fails_leaves_a_sound_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for in review: the store is sound after it, and it can be discarded again."""
    two_histories(tmp_path)
    store = Store.open(tmp_path, OPTIONS)
    (old,) = store.others()

    def fail(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(shutil, "rmtree", fail)
    for _ in range(2):
        with pytest.raises(DataDirError, match="1-aaaaaaaa"):
            store.discard(old)
        assert store.current is not None
        assert (store.current.number, store.others()) == (2, [])
        assert store.disk_bytes() == store.current.disk_bytes
    monkeypatch.undo()
    store.close()
    again = Store.open(tmp_path, OPTIONS)
    assert [repair.path for repair in again.repairs] == [old.path]
    assert again.others() == []
    again.discard(old)
    again.close()


def test_regression_files_may_vanish_while_a_history_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found while fixing trim: a thread that deletes its files made the removal stop half-way."""
    store = Store.open(tmp_path, OPTIONS)
    history = full_sync(store, A, 0)
    history.journal.append(b"x" * 3500, 1)
    trimmed = history.journal.trim(Offset(3000))
    real = os.unlink

    def unlink(path: str, *, dir_fd: int | None = None) -> None:
        real(path, dir_fd=dir_fd)
        if dir_fd is not None:  # shutil.rmtree
            monkeypatch.undo()
            trimmed.delete()
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(os, "unlink", unlink)
    store.discard(history)
    assert os.unlink is real, "the removal has met the other thread"
    assert os.listdir(tmp_path / "histories") == []
    store.discard(history)
    store.close()


def test_a_history_without_its_metadata_is_kept(tmp_path: Path) -> None:
    """Found by a new user: one missing file, and a start deleted the whole history."""
    store = open_store(tmp_path)
    history = hold(store, SET)
    store.close()
    (history.path / "history.json").unlink()
    again = open_store(tmp_path)
    assert again.current is None
    assert "history.json" in again.repairs[0].reason
    kept = history.path.with_name(history.path.name + ".broken")
    assert list((kept / "snapshots").glob("*.rdb"))
    assert list((kept / "journal").glob("*.seg"))
    again.close()


def test_the_data_directory_is_its_owners_alone(tmp_path: Path) -> None:
    open_store(tmp_path / "data").close()
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
