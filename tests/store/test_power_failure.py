"""What is said to be durable is there after a power failure, whatever becomes of the rest."""

from __future__ import annotations

import itertools
import random
import shutil
from pathlib import Path

import pytest

from repltap.position import Offset, ReplId
from repltap.store.history import HistoryStore
from repltap.store.options import StoreOptions
from repltap.store.store import Store
from tests.protocol.ways import rdb
from tests.store.power import Disk
from tests.stored import REPLID, START, add_snapshot

OPTIONS = StoreOptions(segment_bytes=4096, index_interval_bytes=512)


class Life:
    """A store that does what a relay makes it do, in random order, on a disk that is watched."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.rng = random.Random(seed)
        (root / "data").mkdir(parents=True)
        self.disk = Disk(root / "data")
        self.store: Store
        self.history: HistoryStore
        self.stream = bytearray()  # every byte since START, as it is now
        self.replids = [REPLID]
        self.cut_at: Offset | None = None  # a truncation that is under way
        self.crashes = itertools.count()

    def begin(self) -> None:
        self.store = Store.open(self.disk.root, OPTIONS)
        self.history = self.store.begin_history(REPLID, START, origin="a test")
        add_snapshot(self.history, rdb())
        self.store.publish(self.history)

    def step(self) -> None:
        journal = self.history.journal
        match self.rng.randrange(12):
            case 0 | 1 | 2 | 3 | 4 | 5:
                data = self.rng.randbytes(self.rng.randrange(1, 1500))
                journal.append(data, 10**9 * len(self.stream))
                self.stream += data
            case 6:
                journal.flush_index(10**9 * len(self.stream))
            case 7 | 8 | 9:
                job = journal.prepare_sync()
                job.run()
                journal.synced(job)
            case 10:
                journal.trim(Offset(max(journal.start, journal.end - 9000))).delete()
            case 11:
                self.fail_over()

    def fail_over(self) -> None:
        journal = self.history.journal
        at = Offset(max(journal.start, journal.end - self.rng.randrange(600)))
        replid = ReplId(f"{len(self.replids):040x}")
        self.cut_at = at
        self.replids.append(replid)
        self.history.shift(replid, at)
        self.cut_at = None
        del self.stream[at - START :]

    def crash(self) -> None:
        """Fail now, look at what is left, and go on as if nothing had been."""
        left = self.root / f"left-{next(self.crashes)}"
        self.disk.crash(left, self.rng)
        promised = self.history.journal.durable_end
        if self.cut_at is not None:
            promised = min(promised, self.cut_at)
        store = Store.open(left, OPTIONS)
        try:
            self.check(store.current, promised)
        finally:
            store.close()
        shutil.rmtree(left)

    def check(self, found: HistoryStore | None, promised: Offset) -> None:
        assert found is not None, "the history is gone"
        assert found.history.replid in self.replids[-2 if self.cut_at is not None else -1 :]
        journal = found.journal
        assert journal.end >= promised, "durable bytes are gone"
        assert journal.start <= self.history.journal.start, "more than was trimmed is gone"
        end = min(journal.end, START + len(self.stream))
        if self.cut_at is None:
            assert journal.end == end, "bytes that nobody wrote"
        start = journal.start
        stored = b"".join(
            journal.read(Offset(at), min(1000, end - at)) for at in range(start, end, 1000)
        )
        assert stored == self.stream[start - START : end - START]
        for snapshot in self.history.snapshots.all:
            assert snapshot.offset in {s.offset for s in found.snapshots.all}
        for kept in found.snapshots.all:
            kept.verify()


@pytest.mark.parametrize("seed", range(25))
def test_between_two_steps(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    life = Life(tmp_path, seed)
    with life.disk.watched(monkeypatch):
        life.begin()
        for _ in range(60):
            life.step()
            if life.rng.random() < 0.2:
                life.crash()
        life.crash()
        life.store.close()


@pytest.mark.parametrize("seed", range(25))
def test_in_the_middle_of_a_step(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Just before each fsync takes effect: in a shift between the cut and the new metadata, too."""
    life = Life(tmp_path, seed)
    with life.disk.watched(monkeypatch):
        life.begin()
        life.disk.on_sync = life.crash
        for _ in range(40):
            life.step()
        life.disk.on_sync = lambda: None
        life.store.close()
