"""Each kind of damage is found and named, and what a crash explains is none."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from repltap.position import Offset
from repltap.store import audit
from repltap.store.audit import audit_journal, audit_snapshot
from repltap.store.format import MARK_NAME, RECORD_BYTES, pack_mark
from repltap.store.journal import Journal
from repltap.store.reader import Damage, JournalReader
from repltap.store.segment import Segment
from tests.store.conftest import MakeJournal, damages
from tests.stored import hold, open_store

DATA = bytes(range(256)) * 14


@pytest.fixture
def path(make_journal: MakeJournal) -> Path:
    """A closed journal of four segments, 5000 to 8500, all of it durable."""
    journal = make_journal()
    for position in range(0, 3500, 100):
        journal.append(DATA[position : position + 100], position)
    job = journal.prepare_sync()
    job.run()
    journal.synced(job)
    journal.close()
    return journal.path


def flip(path: Path, position: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[position] ^= 4
    path.write_bytes(raw)


def segment(path: Path, start: int) -> Path:
    return path / f"{start:020d}.seg"


def index(path: Path, start: int) -> Path:
    return path / f"{start:020d}.idx"


def test_nothing_is_wrong(path: Path) -> None:
    told: list[int] = []
    found = audit_journal(path, told.append)
    assert (found.start, found.end, found.checked_bytes) == (5000, 8500, 3500)
    assert (found.uncovered_bytes, found.trimmed_segments, found.damages) == (0, 0, [])
    assert sum(told) == 3500


def test_each_flipped_byte_is_named_and_the_rest_is_checked(path: Path) -> None:
    flip(segment(path, 5000), 150)
    flip(segment(path, 5000), 950)
    flip(segment(path, 8000), 499)
    found = audit_journal(path, lambda _: None)
    message = "the data does not match its checksum"
    assert found.damages == [
        Damage(segment(path, 5000), message, Offset(5100), Offset(5200)),
        Damage(segment(path, 5000), message, Offset(5900), Offset(6000)),
        Damage(segment(path, 8000), message, Offset(8400), Offset(8500)),
    ]
    assert found.checked_bytes == 3500 - 300


@pytest.mark.parametrize("byte", range(0, RECORD_BYTES, 5))
def test_a_flipped_byte_of_an_index_costs_what_nobody_can_check_then(path: Path, byte: int) -> None:
    flip(index(path, 6000), 3 * RECORD_BYTES + byte)
    (damage,) = damages(path)
    assert damage.path == index(path, 6000)
    assert (damage.start, damage.end) == (6300, 6500)
    assert damage.message == "an index record does not match its checksum"


def test_the_last_record_of_a_closed_segment(path: Path) -> None:
    flip(index(path, 6000), 9 * RECORD_BYTES)
    (damage,) = damages(path)
    assert damage.message == "an index record does not match its checksum"
    assert (damage.path, damage.start, damage.end) == (index(path, 6000), 6900, 7000)


def test_a_missing_index(path: Path) -> None:
    index(path, 6000).unlink()
    (damage,) = damages(path)
    assert (damage.path, damage.start, damage.end) == (index(path, 6000), 6000, 7000)


def test_a_missing_segment(path: Path) -> None:
    segment(path, 6000).unlink()
    index(path, 6000).unlink()
    (damage,) = damages(path)
    assert damage == Damage(segment(path, 6000), "is missing", Offset(6000), Offset(7000))
    assert str(damage) == f"{segment(path, 6000)}: offsets 6000 to 7000: is missing"


def test_a_truncated_segment(path: Path) -> None:
    os.truncate(segment(path, 6000), 850)
    found = damages(path)
    assert {d.path for d in found} == {segment(path, 6000)}
    assert (found[0].start, found[-1].end) == (6800, 7000)


def test_a_segment_that_is_too_long(path: Path) -> None:
    with open(segment(path, 6000), "ab") as file:
        file.write(b"more")
    (damage,) = damages(path)
    assert damage.message == "overlaps the segment after it"
    assert (damage.start, damage.end) == (7000, 7004)


@pytest.mark.parametrize("size", [0, 250, 499])
def test_the_last_segment_is_shorter_than_it_was_durable(path: Path, size: int) -> None:
    os.truncate(segment(path, 8000), size)
    found = damages(path)
    assert {d.path for d in found} == {segment(path, 8000)}
    assert found[-1].end == 8500


def test_the_last_index_is_shorter_than_it_was_durable(path: Path) -> None:
    os.truncate(index(path, 8000), 2 * RECORD_BYTES)
    (damage,) = damages(path)
    assert damage.message == "ends at offset 8200, but was durable up to 8500"
    assert (damage.start, damage.end) == (8200, 8500)


@pytest.mark.parametrize("content", [b"", b"x" * 12, pack_mark(8500)[:11]])
def test_a_damaged_mark(path: Path, content: bytes) -> None:
    (path / MARK_NAME).write_bytes(content)
    assert damages(path) == [Damage(path / MARK_NAME, "is missing, or damaged")]


def test_what_a_crash_tore_is_no_damage(path: Path) -> None:
    """A power failure may leave the last records without their bytes, as far as not durable."""
    (path / MARK_NAME).write_bytes(pack_mark(8200))
    with open(segment(path, 8000), "ab") as file:
        file.write(b"torn")
    flip(segment(path, 8000), 450)
    found = audit_journal(path, lambda _: None)
    assert (found.damages, found.end, found.uncovered_bytes) == ([], 8400, 104)
    flip(segment(path, 8000), 150)
    (damage,) = damages(path)
    assert (damage.start, damage.end) == (8100, 8200)


def test_an_empty_directory(tmp_path: Path) -> None:
    assert [d.message for d in damages(tmp_path)] == [
        "is missing, or damaged",
        "there is no segment",
    ]


def test_trimmed_meanwhile(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The relay deletes what was listed a moment ago: gone, not damaged."""

    def trim_first(path: Path) -> JournalReader:
        view = JournalReader(path)
        segment(path, 5000).unlink(missing_ok=True)
        index(path, 5000).unlink(missing_ok=True)
        return view

    monkeypatch.setattr(audit, "JournalReader", trim_first)
    found = audit_journal(path, lambda _: None)
    assert (found.trimmed_segments, found.damages, found.checked_bytes) == (1, [], 2500)


def test_the_index_goes_after_the_data(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trim between the two opens."""
    real = Segment.acquire

    def acquire(self: Segment) -> None:
        real(self)
        if self.start == 5000:
            segment(path, 5000).unlink(missing_ok=True)
            index(path, 5000).unlink(missing_ok=True)

    monkeypatch.setattr(Segment, "acquire", acquire)
    found = audit_journal(path, lambda _: None)
    assert (found.trimmed_segments, found.damages) == (1, [])


def test_beside_a_journal_that_is_cut(
    path: Path, reopen: Callable[[], Journal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failover takes the end back and writes other bytes there while it is read."""
    journal = reopen()
    real = audit.walk_records
    cut = []

    def walk(*args: int) -> object:
        if args[2] == 8000 and not cut:
            cut.append(journal)
            journal.truncate(Offset(8150))
            journal.append(b"other bytes" * 30, 10**9)
            journal.flush_index(10**18)
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(audit, "walk_records", walk)
    found = audit_journal(path, lambda _: None)
    assert cut
    assert (found.damages, found.end) == ([], 8480)
    journal.close()


def test_a_growing_journal(path: Path, reopen: Callable[[], Journal], tmp_path: Path) -> None:
    journal = reopen()
    journal.append(b"x" * 20, 1)
    found = audit_journal(path, lambda _: None)
    assert (found.damages, found.end, found.uncovered_bytes) == ([], 8500, 20)
    journal.close()
    copied = tmp_path / "copy"
    shutil.copytree(path, copied)
    assert damages(copied) == []


def test_snapshots(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    history = hold(store)
    (snapshot,) = history.snapshots.all
    told: list[int] = []
    assert audit_snapshot(snapshot, told.append) is None
    assert sum(told) == snapshot.size_bytes
    flip(snapshot.path, 12)
    damage = audit_snapshot(snapshot, told.append)
    assert damage == Damage(snapshot.path, "does not match its checksum")
    flip(snapshot.path, 0)
    damage = audit_snapshot(snapshot, told.append)
    assert damage == Damage(snapshot.path, "does not begin with REDIS0011")
    history.snapshots.remove(snapshot)
    assert audit_snapshot(snapshot, told.append) is None
    store.close()
