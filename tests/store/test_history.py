import os
import shutil
import threading
from pathlib import Path

import pytest

from repltap.errors import CorruptStoreError, DataDirError
from repltap.position import History, Offset, Predecessor, ReplId
from repltap.store import history as module
from repltap.store.budget import Budget
from repltap.store.history import HistoryStore
from tests.store.conftest import OPTIONS

A, B, C = (ReplId(c * 40) for c in "abc")
DATA = bytes(range(256)) * 10


@pytest.fixture
def history(tmp_path: Path) -> HistoryStore:
    """Published, 1000 to 3560, snapshots at 1000 and 3000."""
    store = HistoryStore.create(tmp_path / "1-aa", 1, A, Offset(1000), OPTIONS, Budget(None))
    store.origin, store.start_db = "10.0.0.1:6379", 3
    for position in range(0, len(DATA), 100):
        store.journal.append(DATA[position : position + 100], 1)
    for offset in (1000, 3000):
        writer = store.snapshots.begin(Offset(offset))
        writer.write(b"REDIS0011")
        writer.publish(format="REDIS0011", crc64=0, aux={}, duration_seconds=0.1, now=1.0)
    store.publish()
    return store


def reopen(history: HistoryStore) -> HistoryStore:
    return HistoryStore.open(history.path, OPTIONS, Budget(None))


def test_survives(history: HistoryStore) -> None:
    history.journal.close()
    again = reopen(history)
    assert (again.number, again.history, again.start_offset) == (1, History(A), 1000)
    assert (again.origin, again.start_db, again.published) == ("10.0.0.1:6379", 3, True)
    assert again.created_at == history.created_at
    assert again.journal.read(Offset(1000), 9999) == DATA
    assert [s.offset for s in again.snapshots.all] == [3000, 1000]
    assert again.repairs == []
    assert again.disk_bytes == history.disk_bytes
    again.remove()
    assert os.listdir(history.path.parent) == []


def test_unpublished(tmp_path: Path) -> None:
    path = tmp_path / "1-aa"
    store = HistoryStore.create(path, 1, A, Offset(0), OPTIONS, Budget(None))
    store.journal.append(b"x", 1)
    store.shift(B, Offset(1))
    assert (store.history.replid, store.published) == (B, False)
    with pytest.raises(FileNotFoundError):
        HistoryStore.open(path, OPTIONS, Budget(None))
    with pytest.raises(DataDirError):
        HistoryStore.create(path, 1, A, Offset(0), OPTIONS, Budget(None))


def test_shift_cuts_renames_and_survives(history: HistoryStore) -> None:
    history.shift(B, Offset(2500))
    history.journal.append(b"new master", 2)
    history.shift(C, Offset(2505))
    history.journal.close()
    again = reopen(history)
    assert again.history == History(C, (Predecessor(B, Offset(2505)), Predecessor(A, Offset(2500))))
    assert again.journal.read(Offset(1000), 9999) == DATA[:1500] + b"new m"
    assert [s.offset for s in again.snapshots.all] == [1000]


def test_shift_never_leaves_old_bytes_under_the_new_name(
    history: HistoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop after every step that touches the disk: each state opens, and none of them lies."""
    states: list[Path] = []

    def record(real):  # type: ignore[no-untyped-def]
        def call(*args):  # type: ignore[no-untyped-def]
            result = real(*args)
            states.append(Path(shutil.copytree(history.path, tmp_path / f"state{len(states)}")))
            return result

        return call

    for name in ("fsync", "unlink", "truncate", "rename", "replace", "pwrite"):
        monkeypatch.setattr(os, name, record(getattr(os, name)))
    history.shift(B, Offset(1500))
    monkeypatch.undo()
    assert len(states) > 10
    for state in states:
        again = HistoryStore.open(state, OPTIONS, Budget(None))
        end = again.journal.end
        assert again.journal.read(Offset(1000), 9999) == DATA[: end - 1000]
        if again.history.replid == B:
            assert end == 1500
            assert again.history.predecessors == (Predecessor(A, Offset(1500)),)
            assert [s.offset for s in again.snapshots.all] == [1000]
        else:
            assert end >= 1400
        again.journal.close()


def test_failed_shift_keeps_the_name(
    history: HistoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise DataDirError("gone", path=history.path)

    monkeypatch.setattr(module, "publish_json", fail)
    with pytest.raises(DataDirError):
        history.shift(B, Offset(2000))
    assert (history.history, history.journal.end) == (History(A), 2000)


def test_appends_go_on_while_it_is_published(tmp_path: Path) -> None:
    store = HistoryStore.create(tmp_path / "1-aa", 1, A, Offset(0), OPTIONS, Budget(None))
    thread = threading.Thread(target=store.publish)
    thread.start()
    for number in range(2000):
        store.journal.append(b"%08d" % number, number)
        store.journal.trim(Offset(store.journal.end - 3000)).delete()
    thread.join()
    assert store.published
    store.journal.close()
    again = reopen(store)
    start = again.journal.start
    stream = b"".join(b"%08d" % number for number in range(2000))
    assert again.journal.read(start, 10**6) == stream[start:]
    assert again.journal.end == 16000


def test_every_flipped_byte_of_its_metadata_is_refused_or_harmless(history: HistoryStore) -> None:
    history.journal.close()
    path = history.path / "history.json"
    whole = path.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        try:
            again = reopen(history)
        except CorruptStoreError:
            continue
        assert again.history == History(A)  # white space
        again.journal.close()
    path.write_bytes(b"{}")
    with pytest.raises(CorruptStoreError) as caught:
        reopen(history)
    assert caught.value.path == path


def test_how_far_the_stream_is_known_to_go(history: HistoryStore, tmp_path: Path) -> None:
    """Only under the same replid; a failover takes back what the old master alone had."""

    def begin(number: int, replid: ReplId) -> HistoryStore:
        path = tmp_path / f"{number}"
        return HistoryStore.create(path, number, replid, Offset(5), OPTIONS, Budget(None))

    again, third, other = begin(2, A), begin(3, A), begin(4, B)
    history.disputed = True
    again.follow(history)
    assert again.known_end == 0
    history.disputed = False
    again.follow(history)
    assert again.known_end == history.journal.end
    third.follow(again)
    assert third.known_end == history.journal.end
    other.follow(history)
    assert other.known_end == 0
    again.shift(B, Offset(5))
    assert again.known_end == 0
    for store in (history, again, third, other):
        store.remove()
