"""Everything from before a start is read in the background, once."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from repltap.checks import SegmentChecks
from repltap.errors import OpenFilesError
from repltap.scrub import BackgroundCheck
from repltap.shelf import SnapshotShelf
from repltap.status.store import CheckStatus
from repltap.store.history import HistoryStore
from repltap.store.segment import Segment
from repltap.store.snapshots import Snapshot
from repltap.store.store import Store
from repltap.tasks import OwnedTasks
from tests.protocol.ways import rdb
from tests.readers import FakeReader
from tests.stored import held, open_store, until

FAST = 1 << 40
SLOW = 1  # a byte a second: nothing ends by itself


class Bench:
    """A store that has been opened again, and what checks it."""

    def __init__(self, path: Path) -> None:
        held(path, bytes(5500), segment_bytes=1000)
        self._path = path
        self.failures: list[BaseException] = []
        self.tasks = OwnedTasks(self.failures.append)
        self.store: Store
        self.history: HistoryStore
        self.served: HistoryStore | None
        self.shelf: SnapshotShelf
        self.checks: SegmentChecks
        self.check: BackgroundCheck

    def files(self) -> list[Path]:
        return sorted(self._path.glob("histories/*/journal/*.seg"))

    def reopen(self, rate: int = FAST) -> BackgroundCheck:
        self.store = open_store(self._path, segment_bytes=1000)
        assert self.store.current is not None
        self.history = self.served = self.store.current
        self.shelf = SnapshotShelf(self.history, self.tasks, lambda: None)
        self.checks = SegmentChecks(self.tasks)
        self.check = BackgroundCheck(
            self.history, self.shelf, self.checks, rate, lambda: self.served
        )
        return self.check


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.check.stop()
    await made.tasks.join()
    assert not made.failures
    made.store.close()


def flip(path: Path, position: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[position] ^= 1
    path.write_bytes(raw)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What is verified, in turn: offsets, of a snapshot negative."""
    found: list[int] = []
    segment, snapshot = Segment.verify, Snapshot.verify

    def of_segment(self: Segment, checked: Callable[[int], None] | None = None) -> None:
        found.append(self.start)
        segment(self, checked)

    def of_snapshot(self: Snapshot, each: Callable[[bytes], object] | None = None) -> None:
        found.append(-self.offset)
        snapshot(self, each)

    monkeypatch.setattr(Segment, "verify", of_segment)
    monkeypatch.setattr(Snapshot, "verify", of_snapshot)
    return found


async def test_all_is_read_once_the_newest_first(bench: Bench, read: list[int]) -> None:
    check = bench.reopen()
    total = 5000 + len(rdb())
    assert check.status() == CheckStatus(checked_bytes=0, total_bytes=total, damaged=0)
    await check.run()
    assert read == [-100, 4100, 3100, 2100, 1100, 100]
    assert check.status() == CheckStatus(checked_bytes=total, total_bytes=total, damaged=0)
    assert bench.history.journal.unverified == ()
    assert bench.shelf.newest(lambda _: True) is not None


async def test_it_is_off(bench: Bench, read: list[int]) -> None:
    check = bench.reopen(rate=0)
    await check.run()
    assert (read, check.status()) == ([], None)


async def test_a_flipped_byte_is_found_without_any_reader(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = bench.files()[2]
    flip(damaged, 500)
    check = bench.reopen()
    await check.run()
    assert bench.history.journal.start == 3100
    assert f"{damaged}: damaged at offset 2100: " in caplog.text
    assert "the journal up to offset 3100 is given up" in caplog.text
    assert not damaged.exists()
    status = check.status()
    assert status is not None
    assert (status.damaged, status.checked_bytes) == (1, status.total_bytes)


async def test_a_damaged_snapshot_is_set_aside(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    check = bench.reopen()
    (snapshot,) = bench.history.snapshots.all
    flip(snapshot.path, 12)
    await check.run()
    assert bench.history.snapshots.all == ()
    assert snapshot.path.with_name(snapshot.path.name + ".broken").exists()
    assert "does not match its checksum" in caplog.text
    status = check.status()
    assert status is not None
    assert status.damaged == 1


async def test_what_a_reader_waits_for_is_read_at_once_and_not_twice(
    bench: Bench, read: list[int]
) -> None:
    check = bench.reopen(rate=SLOW)
    running = bench.tasks.spawn("check", check.run())
    await until("the snapshot", lambda: read == [-100])
    assert not bench.shelf.verifying, "nobody waits for it"
    assert bench.shelf.newest(lambda _: True) is None
    assert bench.shelf.verifying
    await until("the next", lambda: 4100 in read)
    assert bench.shelf.newest(lambda _: True) is not None
    reader, other = FakeReader(), FakeReader()
    segments = {segment.start: segment for segment in bench.history.journal.segments}
    bench.checks.request(segments[4100], bench.history, reader)  # being read, slowly
    bench.checks.request(segments[2100], bench.history, other)  # not begun
    await until("both", lambda: reader.woken and other.woken)
    await until("the one after it", lambda: 3100 in read)
    assert sorted(read) == [-100, 2100, 3100, 4100]
    check.stop()
    await running


async def test_stop_leaves_what_is_being_read(bench: Bench, read: list[int]) -> None:
    check = bench.reopen(rate=SLOW)
    running = bench.tasks.spawn("check", check.run())
    await until("the snapshot", lambda: read == [-100])
    check.stop()
    await running
    assert (read, len(bench.shelf.unverified)) == ([-100], 1)
    assert len(bench.history.journal.unverified) == 5


async def test_another_history_ends_it(bench: Bench, read: list[int]) -> None:
    check = bench.reopen()
    bench.served = None
    await check.run()
    assert read == []
    status = check.status()
    assert status is not None
    assert status.checked_bytes == status.total_bytes


async def test_no_descriptors_for_a_while(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is taken for damaged because too many files are open."""
    check = bench.reopen()
    monkeypatch.setattr("repltap.scrub._RETRY_SECONDS", 0.001)
    failures = [OpenFilesError("too many open files", path=bench._path) for _ in range(3)]
    real = os.open

    def scarce(path: object, *rest: int, **more: int) -> int:
        if failures and str(path).endswith((".seg", ".rdb")):
            failures.pop()
            raise OSError(24, "Too many open files")
        return real(path, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", scarce)
    await check.run()
    monkeypatch.undo()
    assert not failures
    assert bench.history.journal.unverified == ()
    status = check.status()
    assert status is not None
    assert status.damaged == 0


async def test_a_segment_that_can_not_be_read_is_left(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    check = bench.reopen()
    real = os.open

    def broken(path: object, *rest: int, **more: int) -> int:
        if str(path).endswith("2100.seg"):
            raise OSError(5, "Input/output error")
        return real(path, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", broken)
    await check.run()
    assert [segment.start for segment in bench.history.journal.unverified] == [2100]
    assert "can't be checked" in caplog.text


async def test_what_is_trimmed_needs_no_check(bench: Bench, read: list[int]) -> None:
    check = bench.reopen(rate=SLOW)
    running = bench.tasks.spawn("check", check.run())
    await until("the snapshot", lambda: read == [-100])
    bench.shelf.newest(lambda _: True)
    await until("the next", lambda: 4100 in read)
    journal, reader = bench.history.journal, FakeReader()
    journal.trim(journal.segments[-2].start).delete()
    bench.checks.request(journal.segments[-2], bench.history, reader)
    await running
    assert (read, reader.woken) == ([-100, 4100], 1)
    status = check.status()
    assert status is not None
    assert status.checked_bytes == status.total_bytes
