import errno
import os
from pathlib import Path

import pytest

from repltap.errors import DataDirError, DiskFullError
from repltap.position import Offset
from repltap.store import sync
from repltap.store.sync import SyncJob


def job(path: Path) -> tuple[SyncJob, list[int]]:
    file = os.open(path / "f", os.O_RDWR | os.O_CREAT)
    directory = os.open(path, os.O_RDONLY)
    return SyncJob(path, Offset(5), [file], directory, generation=0, names=0), [file, directory]


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_run_flushes_and_closes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, int]] = []
    monkeypatch.setattr(sync.os, "fdatasync", lambda fd: calls.append(("data", fd)))
    monkeypatch.setattr(sync.os, "fsync", lambda fd: calls.append(("all", fd)))
    work, fds = job(tmp_path)
    work.run()
    assert calls == [("data", fds[0]), ("all", fds[1])]
    assert not any(map(is_open, fds))
    work.run()
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("code", "error"), [(errno.EIO, DataDirError), (errno.ENOSPC, DiskFullError)]
)
def test_errors_are_ours_and_nothing_leaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, error: type[Exception]
) -> None:
    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(sync.os, "fdatasync", fail)
    work, fds = job(tmp_path)
    with pytest.raises(error):
        work.run()
    assert not any(map(is_open, fds))


def test_a_forgotten_job_closes_its_files(tmp_path: Path) -> None:
    work, fds = job(tmp_path)
    del work
    assert not any(map(is_open, fds))
