"""The log sink when a system call fails, when it is killed in one, and when the power fails.

As for the file sink: nothing is missing and nothing twice, whichever call goes wrong. After a power
failure the log has what was committed, retention and the ends of segments included.
"""

from __future__ import annotations

import errno
import os
import random
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from repltap.sink import SinkError, SinkErrorKind
from sinks.eventlog.reader import LogReader
from tests.sinks.driver import Checkpoint, Driver
from tests.sinks.faults import Lives, open_below
from tests.sinks.logs import LogTarget
from tests.sinks.records import flat, numbered
from tests.store.power import Disk

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


def lives(form: int) -> Lives[LogTarget]:
    return Lives(
        make=partial(make, form),
        batches=BATCHES,
        finish=finish,
        stops=(("write", 3), ("idle", 4)),
        calls=_CALLS,
        quiet=_QUIET,
    )


@pytest.mark.slow
@forms
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_each_call_fails_once(tmp_path: Path, form: int, code: int) -> None:
    def judge(failure: BaseException | None, name: str) -> None:
        assert failure is None or isinstance(failure, SinkError)
        # What only looks whether something is there may have to take a no for an answer.
        assert failure is not None or name in _QUIET
        if isinstance(failure, SinkError) and code == errno.ENOSPC:
            assert failure.kind is SinkErrorKind.FULL or name in (*_QUIET, "open")

    assert lives(form).fail_in_each_call(tmp_path, code, judge) > 60
    assert not open_below(tmp_path)


@pytest.mark.slow
@forms
@pytest.mark.parametrize("effective", [False, True])
def test_killed_in_each_call(tmp_path: Path, form: int, effective: bool) -> None:
    assert lives(form).die_in_each_call(tmp_path, effective=effective) > 40


@forms
def test_a_disk_that_is_full_again_and_again(tmp_path: Path, form: int) -> None:
    """Writes come short."""
    lives(form).fill_again_and_again(make(form, tmp_path / "t"), range(100, 10_000, 150))


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
