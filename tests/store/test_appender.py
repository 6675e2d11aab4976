import errno
import os
import resource
from collections.abc import Callable, Iterator

import pytest

from repltap.errors import DataDirError, DiskFullError, OpenFilesError
from repltap.position import Offset
from repltap.store import appender
from repltap.store.format import RECORD_BYTES
from repltap.store.index import read_records
from repltap.store.journal import Journal
from repltap.store.options import StoreOptions
from tests.store.conftest import MakeJournal, damages

DATA = bytes(range(256)) * 20

Reopen = Callable[..., Journal]


def content(journal: Journal) -> bytes:
    return journal.read(journal.start, journal.end - journal.start)


def ends(journal: Journal) -> list[int]:
    records = read_records(journal.segments[-1].path.with_suffix(".idx"))
    return [record.end if record else -1 for record in records]


def test_a_segment_is_begun_before_the_last_one_is_full(make_journal: MakeJournal) -> None:
    journal = make_journal()
    journal.begin_segment()  # there is nothing in the last one
    assert len(journal.segments) == 1
    journal.append(DATA[:10], 1)
    journal.begin_segment()
    journal.begin_segment()
    journal.append(DATA[10:30], 1)
    assert [(s.start, s.end) for s in journal.segments] == [(5000, 5010), (5010, 5030)]
    assert content(journal) == DATA[:30]
    journal.close()
    with pytest.raises(DataDirError):
        journal.begin_segment()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_append_and_roll(make_journal: MakeJournal, kind: Callable[[bytes], bytes]) -> None:
    journal = make_journal()
    for position in range(0, 5000, 70):
        journal.append(kind(DATA[position : min(position + 70, 5000)]), 1)
    assert (journal.start, journal.end) == (5000, 10000)
    assert [(s.start, s.end) for s in journal.segments] == [
        (n, n + 1000) for n in range(5000, 10000, 1000)
    ]
    assert content(journal) == DATA[:5000]
    on_disk = sum(p.stat().st_size for p in journal.path.iterdir() if p.suffix != ".mark")
    assert journal.disk_bytes == on_disk


def test_one_append_over_many_segments(make_journal: MakeJournal) -> None:
    journal = make_journal()
    journal.append(b"abc", 1)
    journal.append(DATA, 1)
    journal.append(b"", 1)
    assert content(journal) == b"abc" + DATA
    assert len(journal.segments) == 6


def test_records_by_size_and_time(make_journal: MakeJournal) -> None:
    second = 10**9
    options = StoreOptions(index_interval_bytes=100, index_interval_seconds=1.0)
    journal = make_journal(0, options)
    journal.append(b"x" * 10, 100 * second)
    assert ends(journal) == [10], "the first bytes for long are covered at once"
    journal.append(b"x" * 10, 100 * second + 1)
    assert ends(journal) == [10]
    journal.append(b"x" * 90, 100 * second + 2)
    assert ends(journal) == [10, 110]
    journal.append(b"x", 100 * second + 3)
    assert ends(journal) == [10, 110]
    journal.flush_index(100 * second + 4)
    journal.flush_index(109 * second + 4)
    assert ends(journal) == [10, 110, 111]
    journal.append(b"x", 50 * second)
    assert ends(journal) == [10, 110, 111, 112], "a clock set back makes a record due"
    times = [r.time_ns for r in read_records(journal.segments[-1].path.with_suffix(".idx")) if r]
    assert times == sorted(times)


def test_quota(make_journal: MakeJournal, reopen: Reopen) -> None:
    options = StoreOptions(segment_bytes=1000, index_interval_bytes=100, quota_bytes=3300)
    journal = make_journal(0, options)
    with pytest.raises(DiskFullError, match="quota of 3300"):
        journal.append(DATA, 1)
    stored = journal.end
    assert 2500 < stored <= 3300
    assert content(journal) == DATA[:stored]
    with pytest.raises(DiskFullError):
        journal.append(DATA[stored:], 1)
    assert journal.end == stored
    trimmed = journal.trim(Offset(1000))
    assert trimmed.freed_bytes > 1000
    with pytest.raises(DiskFullError):
        journal.append(DATA[stored:], 1)
    trimmed.delete()
    journal.append(DATA[stored : stored + 500], 1)
    assert content(journal) == DATA[1000 : stored + 500]
    journal.close()
    assert content(reopen(options)) == DATA[1000 : stored + 500]


@pytest.fixture
def file_size_limit() -> Iterator[Callable[[int], None]]:
    """Limit how large files may get: the kernel then writes short, and refuses after that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_short_write_by_the_kernel(
    make_journal: MakeJournal, reopen: Reopen, file_size_limit: Callable[[int], None]
) -> None:
    options = StoreOptions(index_interval_seconds=1000.0)
    journal = make_journal(5000, options)
    journal.append(DATA[:1000], 1)
    file_size_limit(1500)
    with pytest.raises(DiskFullError) as caught:
        journal.append(DATA[1000:], 1)
    assert caught.value.path == journal.segments[-1].path
    assert journal.end == 6500
    with pytest.raises(DiskFullError):
        journal.append(DATA[1500:], 1)
    assert journal.end == 6500
    file_size_limit(resource.RLIM_INFINITY)
    journal.append(DATA[1500:], 1)
    assert content(journal) == DATA
    journal.close()
    assert content(reopen(options)) == DATA


def test_no_room_for_an_index_record(
    make_journal: MakeJournal, reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = make_journal()
    journal.append(DATA[:150], 1)
    real = os.pwrite

    def write(fd: int, data: bytes, position: int) -> int:
        if len(data) == RECORD_BYTES:
            return real(fd, data[:10], position)
        return real(fd, data, position)

    monkeypatch.setattr(appender, "_pwrite", write)
    with pytest.raises(DiskFullError, match="index"):
        journal.append(DATA[150:300], 1)
    assert journal.end == 5300, "the data are stored"
    monkeypatch.undo()
    journal.append(DATA[300:310], 1)
    journal.close()
    again = reopen()
    assert content(again) == DATA[:310]
    assert again.repairs == []


def test_process_dies_with_a_torn_index_record(
    make_journal: MakeJournal, reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = make_journal()
    journal.append(DATA[:150], 1)
    real = os.pwrite

    def write(fd: int, data: bytes, position: int) -> int:
        return real(fd, data[:-5] if len(data) == RECORD_BYTES else data, position)

    monkeypatch.setattr(appender, "_pwrite", write)
    with pytest.raises(DiskFullError):
        journal.append(DATA[150:260], 1)
    monkeypatch.undo()
    again = reopen()
    assert content(again) == DATA[:150]
    assert [repair.cut_bytes for repair in again.repairs] == [110]


def test_no_room_for_a_new_segment(
    make_journal: MakeJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = make_journal()
    journal.append(DATA[:1000], 1)
    real = os.open

    def open_(path: os.PathLike[str], flags: int, *args: int) -> int:
        if flags & os.O_CREAT and str(path).endswith(".seg"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, flags, *args)

    monkeypatch.setattr(appender.os, "open", open_)
    with pytest.raises(DiskFullError):
        journal.append(DATA[1000:], 1)
    assert journal.end == 6000
    monkeypatch.undo()
    journal.append(DATA[1000:], 1)
    assert content(journal) == DATA


def test_regression_a_roll_without_a_free_descriptor_can_be_tried_again(
    make_journal: MakeJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found while fixing truncate: EMFILE left the journal with closed files for good."""
    journal = make_journal()
    journal.append(DATA[:1000], 1)
    real = os.open
    opened = 0

    def open_(path: os.PathLike[str], flags: int, *args: int) -> int:
        nonlocal opened
        opened += 1
        if opened == failing:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(path, flags, *args)

    for failing in (1, 2, 3):
        opened = 0
        monkeypatch.setattr(appender.os, "open", open_)
        if failing < 3:
            with pytest.raises(OpenFilesError):
                journal.append(DATA[1000:], 1)
            assert (journal.end, len(os.listdir(journal.path))) == (6000, 3)
        else:
            journal.append(DATA[1000:1500], 1)
        monkeypatch.undo()
    journal.append(DATA[1500:], 1)
    assert content(journal) == DATA


def test_disk_error_and_closed(make_journal: MakeJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = make_journal()
    journal.append(b"x", 1)

    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(appender, "_pwrite", fail)
    with pytest.raises(DataDirError, match="Input/output"):
        journal.append(b"y", 1)
    monkeypatch.undo()
    assert journal.end == 5001
    journal.close()
    journal.close()
    with pytest.raises(DataDirError, match="closed"):
        journal.append(b"y", 1)


def test_a_segment_with_a_full_index_is_closed(
    make_journal: MakeJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quiet stream must not make the last segment slow to check at a start."""
    monkeypatch.setattr(appender, "MAX_INDEX_BYTES", 3 * 24)
    journal = make_journal()
    for number in range(10):
        journal.append(b"x" * 100, number)
    assert [segment.index_bytes for segment in journal.segments] == [72, 72, 72, 24]
    assert [segment.start for segment in journal.segments] == [5000, 5300, 5600, 5900]
    journal.append(b"y" * 250, 11)
    assert journal.read(Offset(5000), 2000) == b"x" * 1000 + b"y" * 250
    assert damages(journal.path) == []
    journal.close()
