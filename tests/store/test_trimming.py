import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from repltap.errors import DataDirError
from repltap.position import Offset
from repltap.store.budget import Budget
from repltap.store.journal import Journal
from repltap.store.trimming import Trimmed
from tests.store.conftest import OPTIONS, MakeJournal

DATA = bytes(range(256)) * 20

Reopen = Callable[..., Journal]


@pytest.fixture
def journal(make_journal: MakeJournal) -> Journal:
    """Offsets 5000 to 10120, in six segments, durable."""
    journal = make_journal()
    journal.append(DATA, 1)
    job = journal.prepare_sync()
    job.run()
    journal.synced(job)
    return journal


def names(journal: Journal) -> list[str]:
    return sorted(path.name.lstrip("0") for path in journal.path.glob("*.seg"))


def test_nothing_is_detached(journal: Journal) -> None:
    for trimmed in (journal.trim(Offset(5999)), Trimmed(0, ())):
        assert (trimmed.freed_bytes, trimmed.paths) == (0, ())
        trimmed.delete()
    assert len(names(journal)) == 6


def test_detached_now_and_deleted_later(journal: Journal) -> None:
    before = journal.disk_bytes
    trimmed = journal.trim(Offset(7000))
    assert journal.start == 7000
    assert [path.name[-8:] for path in trimmed.paths] == [
        "5000.seg", "5000.idx", "6000.seg", "6000.idx",
    ]  # fmt: skip
    assert trimmed.freed_bytes == sum(path.stat().st_size for path in trimmed.paths)
    assert journal.disk_bytes == before, "it counts as long as it is there"
    trimmed.paths[1].unlink()
    trimmed.delete()
    trimmed.delete()
    assert names(journal) == ["10000.seg", "7000.seg", "8000.seg", "9000.seg"]
    assert journal.disk_bytes == before - trimmed.freed_bytes
    shutil.rmtree(journal.path)
    journal.trim(Offset(8000)).delete()


def test_regression_no_file_is_touched_on_the_event_loop(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found in review: trimming 3 GB stopped the event loop for 1.4 s."""

    def touch(*_: object) -> None:
        raise AssertionError("blocking")

    for name in ("unlink", "open", "fsync", "stat", "listdir"):
        monkeypatch.setattr(os, name, touch)
    assert journal.trim(Offset(9000)).freed_bytes > 4000


def test_a_sync_makes_the_deletion_durable(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))

    def sync() -> list[str]:
        synced.clear()
        job = journal.prepare_sync()
        job.run()
        journal.synced(job)
        return synced

    trimmed = journal.trim(Offset(7000))
    assert sync() == []
    trimmed.delete()
    assert sync() == [str(journal.path)]
    assert sync() == []


def test_the_newer_trim_deletes_the_older_one_first(journal: Journal) -> None:
    journal.trim(Offset(6000))  # its deletion was cancelled, say
    journal.trim(Offset(7000)).delete()
    assert names(journal)[1:] == ["7000.seg", "8000.seg", "9000.seg"]


def test_every_crash_leaves_a_journal_without_a_gap(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[Path] = []
    real = os.unlink

    def unlink(path: Path) -> None:
        states.append(Path(shutil.copytree(journal.path, tmp_path / f"state{len(states)}")))
        real(path)

    older, newer = journal.trim(Offset(7000)), journal.trim(Offset(9000))
    monkeypatch.setattr(os, "unlink", unlink)
    newer.delete()
    older.delete()
    monkeypatch.undo()
    assert len(states) == 8
    for number, state in enumerate(states):
        again = Journal.open(state, OPTIONS, Budget(None))
        assert (again.repairs, again.end) == ([], 10120)
        assert again.start == 5000 + (number + 1) // 2 * 1000
        assert again.read(again.start, 9999) == DATA[again.start - 5000 :]
        again.close()


def test_a_file_that_can_not_be_deleted_holds_back_the_newer_ones(
    journal: Journal, reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.unlink

    def unlink(path: Path) -> None:
        if path.name.endswith("6000.seg"):
            raise OSError(errno.EIO, "Input/output error")
        real(path)

    older, newer = journal.trim(Offset(7000)), journal.trim(Offset(9000))
    monkeypatch.setattr(os, "unlink", unlink)
    for trimmed in (older, newer):
        with pytest.raises(DataDirError, match=r"6000\.seg"):
            trimmed.delete()
        assert names(journal)[1:] == ["6000.seg", "7000.seg", "8000.seg", "9000.seg"]
    monkeypatch.undo()
    newer.delete()
    assert names(journal) == ["10000.seg", "9000.seg"]
    assert (journal.start, journal.end) == (9000, 10120)
    journal.close()
    assert reopen().start == 9000
