"""The file sink when a system call fails, when it is killed in one, and when the power fails.

Each call that changes a file fails once, with each error: it is a SinkError, and the next open goes
on with nothing missing and nothing twice. The same where the process ends in that call, before or
after it took effect. After a power failure the last checkpoint that was kept still is right.
"""

from __future__ import annotations

import errno
import json
import os
import random
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repltap.sink import SinkError, SinkErrorKind
from tests.sinks.contract import Target
from tests.sinks.driver import NOTHING_KEPT, Checkpoint, Driver
from tests.sinks.faults import Lives, open_below
from tests.sinks.files import FileTarget, RespTarget, files, unpacked
from tests.sinks.records import Batch, flat, numbered
from tests.store.power import Disk

_CALLS = ("open", "write", "fsync", "rename", "unlink", "ftruncate", "fstat", "lstat", "scandir")
_QUIET = ("fstat", "lstat", "scandir")  # that fail, but change nothing


BATCHES = numbered(16, batch=2)

FORMS: list[tuple[type[FileTarget], dict[str, object]]] = [
    (FileTarget, {}),
    (FileTarget, {"rotate_bytes": 1}),
    (FileTarget, {"rotate_bytes": 200, "compression": "zstd"}),
    (RespTarget, {"rotate_bytes": 1, "format": "resp"}),
]
forms = pytest.mark.parametrize("form", range(len(FORMS)))


def make(form: int, path: Path) -> FileTarget:
    path.mkdir()
    kind, changes = FORMS[form]
    return kind(path, **changes)


def finish(target: Target, checkpoint: Checkpoint, batches: list[Batch] = BATCHES) -> None:
    """Deliver the rest, and look at all of it."""
    Driver(target.sink(), batches, checkpoint).run()
    target.check(flat(batches), crashed=True)


def lives(form: int) -> Lives[FileTarget]:
    return Lives(
        make=partial(make, form),
        batches=BATCHES,
        finish=finish,
        stops=(("write", 5), ("idle", 6)),
        calls=_CALLS,
        quiet=_QUIET,
    )


@forms
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_each_call_fails_once(tmp_path: Path, form: int, code: int) -> None:
    def judge(failure: BaseException | None, _: str) -> None:
        assert isinstance(failure, SinkError)
        full = failure.kind is SinkErrorKind.FULL
        assert full == (code == errno.ENOSPC)

    assert lives(form).fail_in_each_call(tmp_path, code, judge) > 30
    assert not open_below(tmp_path)


@forms
@pytest.mark.parametrize("effective", [False, True])
def test_killed_in_each_call(tmp_path: Path, form: int, effective: bool) -> None:
    assert lives(form).die_in_each_call(tmp_path, effective=effective) > 20


@forms
def test_a_disk_that_is_full_again_and_again(tmp_path: Path, form: int) -> None:
    """Writes come short."""
    lives(form).fill_again_and_again(make(form, tmp_path / "t"), range(40, 4000, 40))


@forms
@pytest.mark.parametrize("seed", range(6))
def test_power_fails(tmp_path: Path, form: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any step: what was kept is kept on a disk, what it tells of is on the other."""
    rng = random.Random(seed)
    target = make(form, tmp_path / "t")
    disk = Disk(target.directory)
    crashes = 0
    with disk.watched(monkeypatch):
        driver = Driver(target.sink(), BATCHES, commit_every=rng.randrange(1, 4))
        for _ in driver.walk():
            left = make(form, tmp_path / f"left-{crashes}")
            left.directory.rmdir()
            disk.crash(left.directory, rng)
            crashes += 1
            with monkeypatch.context() as unwatched:
                unwatched.setattr(os, "fsync", lambda fd: None)
                finish(left, driver.checkpoint)
    assert crashes > 12


@forms
@pytest.mark.parametrize("seed", range(3))
def test_finished_files_never_change(
    tmp_path: Path, form: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stops it, whenever: under its final name a file is as it will always be."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    rng = random.Random(seed)
    target = make(form, tmp_path / "t")
    rotated = "rotate_bytes" in FORMS[form][1]
    seen: dict[str, bytes] = {}
    checkpoint = NOTHING_KEPT
    for _ in range(60):
        driver = Driver(target.sink(), BATCHES, checkpoint, commit_every=rng.randrange(1, 4))
        stop = rng.randrange(1, 20)
        for done, _step in enumerate(driver.walk(), 1):
            finished = {
                path.name: path.read_bytes()
                for path in files(target.directory)
                if rotated and not path.name.endswith(".part")
            }
            assert seen.items() <= finished.items()
            seen = finished
            if done == stop:
                break
        driver.sink.close()
        checkpoint = driver.checkpoint
    finish(target, checkpoint)
    assert len(seen) > 1 or not rotated


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_lives(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Any settings, batches, commits and deaths, with and without a kept checkpoint."""
    path = tmp_path_factory.mktemp("lives")
    compression = data.draw(st.sampled_from(["none", "gzip", "zstd"]))
    rotate_bytes = data.draw(st.sampled_from([None, 1, 200, 1000]))
    target = FileTarget(path, compression=compression, rotate_bytes=rotate_bytes)
    batches = numbered(60, batch=data.draw(st.integers(1, 7)))
    checkpoint = NOTHING_KEPT
    for _ in range(data.draw(st.integers(0, 6))):
        commit_every = data.draw(st.integers(1, 5))
        driver = Driver(target.sink(), batches, checkpoint, commit_every=commit_every)
        stop = data.draw(st.integers(1, 30))
        for done, _step in enumerate(driver.walk(), 1):
            if done == stop:
                break
        driver.sink.close()
        checkpoint = driver.checkpoint
    finish(target, checkpoint, batches)
    whole = b"".join(map(unpacked, files(target.directory)))
    assert [json.loads(line)["args"][1] for line in whole.splitlines()] == [
        str(number) for number in range(60)
    ]
