"""The file sink when a system call fails, when it is killed in one, and when the power fails.

Each call that changes a file fails once, with each error: it is a SinkError, and the next open goes
on with nothing missing and nothing twice. The same where the process ends in that call, before or
after it took effect. After a power failure the last checkpoint that was kept still is right.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repltap.sink import SinkError, SinkErrorKind
from tests.sinks.contract import Target
from tests.sinks.driver import NOTHING_KEPT, Checkpoint, Driver
from tests.sinks.records import Batch, flat, numbered
from tests.sinks.test_file import FileTarget, RespTarget, files, unpacked
from tests.store.power import Disk
from tests.stored import open_fds

_CALLS = ("open", "write", "fsync", "rename", "unlink", "ftruncate", "fstat", "lstat", "scandir")
_QUIET = ("fstat", "lstat", "scandir")  # that fail, but change nothing


class Killed(BaseException):
    """The process ends here."""


class Faults:
    """Counts the calls about files below a directory, and has one of them go wrong.

    Args:
        below: The directory.
        number: Which call, from 1; 0 for none.
        wrong: What happens then: given the real call, to be made or not.
    """

    def __init__(self, below: Path, number: int, wrong: Callable[[Callable[[], Any]], Any]) -> None:
        self.calls = 0
        self.name = ""
        self._below = str(below)
        self._number = number
        self._wrong = wrong

    def wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if self._counts(args):
                self.calls += 1
                if self.calls == self._number:
                    self.name = name
                    return self._wrong(lambda: real(*args, **options))
            if name == "fsync":
                return None  # it costs time, and no power fails here
            return real(*args, **options)

        return call

    def _counts(self, args: tuple[Any, ...]) -> bool:
        if not args:
            return False
        if isinstance(args[0], int):
            return os.readlink(f"/proc/self/fd/{args[0]}").startswith(self._below)
        return str(args[0]).startswith(self._below)


@contextmanager
def faults(
    below: Path,
    number: int = 0,
    wrong: Callable[[Callable[[], Any]], Any] = lambda real: real(),
    calls: tuple[str, ...] = _CALLS,
) -> Iterator[Faults]:
    made = Faults(below, number, wrong)
    with pytest.MonkeyPatch.context() as patch:
        for name in calls:
            patch.setattr(os, name, made.wrap(name, getattr(os, name)))
        patch.setattr(fcntl, "flock", made.wrap("flock", fcntl.flock))
        yield made


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


def run_until_it_fails(target: Target) -> tuple[Checkpoint, BaseException | None]:
    """Deliver everything in three lives, or up to what goes wrong."""
    checkpoint = NOTHING_KEPT
    for stop in (("write", 5), ("idle", 6), None):
        driver = Driver(target.sink(), BATCHES, checkpoint)
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


def close_all(below: Path) -> None:
    """Close what is open below a directory, as the end of a process does."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith(str(below)):
                os.close(int(name))


@forms
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_each_call_fails_once(tmp_path: Path, form: int, code: int) -> None:
    target = make(form, tmp_path / "whole")
    with faults(tmp_path) as counted:
        assert run_until_it_fails(target)[1] is None
    assert counted.calls > 30
    before = open_fds()

    def fail(_: Callable[[], Any]) -> None:
        raise OSError(code, os.strerror(code))

    for number in range(1, counted.calls + 1):
        target = make(form, tmp_path / str(number))
        with faults(tmp_path, number, fail) as made:
            checkpoint, failure = run_until_it_fails(target)
        try:
            assert isinstance(failure, SinkError)
            full = failure.kind is SinkErrorKind.FULL
            assert full == (code == errno.ENOSPC)
            finish(target, checkpoint)
        except BaseException as exc:
            exc.add_note(f"{made.name}, call {number} of {counted.calls}")
            raise
    assert open_fds() == before


@forms
@pytest.mark.parametrize("effective", [False, True])
def test_killed_in_each_call(tmp_path: Path, form: int, effective: bool) -> None:
    calls = tuple(name for name in _CALLS if name not in _QUIET)
    target = make(form, tmp_path / "whole")
    with faults(tmp_path, calls=calls) as counted:
        run_until_it_fails(target)
    assert counted.calls > 20

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
    for room in range(40, 4000, 40):
        left = room

        def write(fd: int, data: memoryview) -> int:
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
