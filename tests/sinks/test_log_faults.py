"""The log sink when a system call fails, when it is killed in one, and when the power fails.

As for the file sink: nothing is missing and nothing twice, whichever call goes wrong. After a power
failure the log has what was committed, retention and the ends of segments included.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from repltap.sink import SinkError, SinkErrorKind
from sinks.eventlog.reader import LogReader
from tests.sinks.driver import NOTHING_KEPT, Checkpoint, Driver
from tests.sinks.records import flat, numbered
from tests.sinks.test_file_faults import Killed, close_all, faults
from tests.sinks.test_log import LogTarget
from tests.store.power import Disk
from tests.stored import open_fds

_CALLS = (
    *("open", "write", "fsync", "fdatasync", "rename", "unlink", "truncate", "mkdir", "fstat"),
    *("scandir", "stat"),
)
_QUIET = ("fstat", "scandir", "stat")  # that fail, but change nothing

BATCHES = numbered(12, batch=2)
FORMS: list[dict[str, Any]] = [
    {"segment_bytes": 1024},
    {"segment_bytes": 1024, "retain_bytes": 0},
]
forms = pytest.mark.parametrize("form", range(len(FORMS)))


def make(form: int, path: Path) -> LogTarget:
    path.mkdir()
    return LogTarget(path, **FORMS[form])


def finish(target: LogTarget, checkpoint: Checkpoint) -> None:
    """Deliver the rest, and look at all that retention has left."""
    Driver(target.sink(), BATCHES, checkpoint).run()
    wanted = target.expected(flat(BATCHES))
    reader = LogReader(target.directory)
    assert reader.partition(0).latest() == len(wanted)
    earliest = reader.partition(0).earliest()
    assert target.delivered(earliest) == wanted[earliest:]
    assert earliest == 0 or "retain_bytes" in target.changes


def run_until_it_fails(target: LogTarget) -> tuple[Checkpoint, BaseException | None]:
    """Deliver everything in three lives, or up to what goes wrong."""
    checkpoint = NOTHING_KEPT
    for stop in (("write", 3), ("idle", 4), None):
        driver = Driver(target.sink(), BATCHES, checkpoint, commit_every=2)
        try:
            for step in driver.walk():
                if step == stop:
                    break
        except (SinkError, Killed) as exc:
            return driver.checkpoint, exc
        finally:
            driver.sink.close()
        checkpoint = driver.checkpoint
    return checkpoint, None


@pytest.mark.slow
@forms
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_each_call_fails_once(tmp_path: Path, form: int, code: int) -> None:
    target = make(form, tmp_path / "whole")
    with faults(tmp_path, calls=_CALLS) as counted:
        assert run_until_it_fails(target)[1] is None
    assert counted.calls > 60
    before = open_fds()

    def fail(_: Callable[[], Any]) -> None:
        raise OSError(code, os.strerror(code))

    for number in range(1, counted.calls + 1):
        target = make(form, tmp_path / str(number))
        with faults(tmp_path, number, fail, _CALLS) as made:
            checkpoint, failure = run_until_it_fails(target)
        try:
            assert failure is None or isinstance(failure, SinkError)
            # What only looks whether something is there may have to take a no for an answer.
            assert failure is not None or made.name in _QUIET
            if isinstance(failure, SinkError) and code == errno.ENOSPC:
                assert failure.kind is SinkErrorKind.FULL or made.name in (*_QUIET, "open")
            finish(target, checkpoint)
        except BaseException as exc:
            exc.add_note(f"{made.name}, call {number} of {counted.calls}")
            raise
    assert open_fds() == before


@pytest.mark.slow
@forms
@pytest.mark.parametrize("effective", [False, True])
def test_killed_in_each_call(tmp_path: Path, form: int, effective: bool) -> None:
    calls = tuple(name for name in _CALLS if name not in _QUIET)
    target = make(form, tmp_path / "whole")
    with faults(tmp_path, calls=calls) as counted:
        run_until_it_fails(target)
    assert counted.calls > 40

    def kill(real: Callable[[], Any]) -> None:
        if effective:
            real()
        raise Killed

    for number in range(1, counted.calls + 1):
        target = make(form, tmp_path / str(number))
        with faults(tmp_path, number, kill, calls) as made:
            checkpoint, failure = run_until_it_fails(target)
        close_all(target.directory)
        try:
            assert isinstance(failure, Killed)
            finish(target, checkpoint)
        except BaseException as exc:
            exc.add_note(f"{made.name}, call {number} of {counted.calls}")
            raise


@forms
def test_a_disk_that_is_full_again_and_again(tmp_path: Path, form: int) -> None:
    """It has room for a little more each time; writes come short, and in the end all is there."""
    target = make(form, tmp_path / "t")
    checkpoint = NOTHING_KEPT
    real = os.write
    failures: list[SinkErrorKind] = []
    for room in range(100, 10_000, 150):
        left = room

        def write(fd: int, data: bytes) -> int:
            nonlocal left
            if not left:
                raise OSError(errno.ENOSPC, "")
            done = real(fd, data[:left])
            left -= done
            return done

        driver = Driver(target.sink(), BATCHES, checkpoint)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "write", write)
            try:
                checkpoint = driver.run()
                break
            except SinkError as failure:
                failures.append(failure.kind)
                checkpoint = driver.checkpoint
    assert len(failures) > 3
    assert set(failures) == {SinkErrorKind.FULL}
    finish(target, checkpoint)


@forms
@pytest.mark.parametrize("seed", range(10))
def test_power_fails(tmp_path: Path, form: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any step and before any fsync; the checkpoint is on the other disk."""
    rng = random.Random(seed)
    target = make(form, tmp_path / "disk")
    disk = Disk(tmp_path / "disk")
    crashes = 0
    with disk.watched(monkeypatch):
        driver = Driver(target.sink(), BATCHES, commit_every=rng.randrange(1, 4))

        def crash() -> None:
            nonlocal crashes
            left = LogTarget(tmp_path / f"left-{crashes}", **FORMS[form])
            disk.crash(left.directory.parent, rng)
            crashes += 1
            with monkeypatch.context() as unwatched:
                unwatched.setattr(os, "fsync", lambda fd: None)
                unwatched.setattr(os, "fdatasync", lambda fd: None)
                finish(left, driver.checkpoint)

        for _ in driver.walk():
            crash()
            disk.on_sync = lambda: crash() if rng.random() < 0.2 else None
    assert crashes > 12
