"""A sink whose system calls go wrong: each of them fails once, or is where its process ends.

What the sinks that write files have to stand. A module of tests says how its sink lives, in
`Lives`, and which calls count.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest

from repltap.sink import SinkError, SinkErrorKind
from tests.sinks.contract import Target
from tests.sinks.driver import NOTHING_KEPT, Checkpoint, Driver
from tests.sinks.records import Batch
from tests.stored import open_fds

_TargetT = TypeVar("_TargetT", bound=Target)


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
    calls: Sequence[str],
    number: int = 0,
    wrong: Callable[[Callable[[], Any]], Any] = lambda real: real(),
) -> Iterator[Faults]:
    """Let the call of a number go wrong, among these of `os`, and flock."""
    made = Faults(below, number, wrong)
    with pytest.MonkeyPatch.context() as patch:
        for name in calls:
            patch.setattr(os, name, made.wrap(name, getattr(os, name)))
        patch.setattr(fcntl, "flock", made.wrap("flock", fcntl.flock))
        yield made


@dataclass(frozen=True)
class Lives(Generic[_TargetT]):
    """How a sink is run again and again.

    Attributes:
        make: Makes a target in a directory that is not there yet.
        batches: What is delivered.
        finish: Delivers the rest from a checkpoint, and looks at all that the target holds.
        stops: Behind which steps the first two lives end; the third goes to the end.
        calls: The calls that count.
        quiet: Those of them that change nothing.
    """

    make: Callable[[Path], _TargetT]
    batches: list[Batch]
    finish: Callable[[_TargetT, Checkpoint], None]
    stops: tuple[tuple[str, int], tuple[str, int]]
    calls: tuple[str, ...]
    quiet: tuple[str, ...]

    def live(self, target: _TargetT) -> tuple[Checkpoint, BaseException | None]:
        """Deliver everything in three lives, or up to what goes wrong."""
        checkpoint = NOTHING_KEPT
        for stop in (*self.stops, None):
            driver = Driver(target.sink(), self.batches, checkpoint)
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

    def fail_in_each_call(
        self, path: Path, code: int, judge: Callable[[BaseException | None, str], None]
    ) -> int:
        """Let each call fail once with an error number; `judge` what comes of it, and the call.

        Returns:
            How many calls there are.
        """

        def fail(_: Callable[[], Any]) -> None:
            raise OSError(code, os.strerror(code))

        return self._go_wrong(path, self.calls, fail, judge)

    def die_in_each_call(self, path: Path, *, effective: bool) -> int:
        """Let the process end in each call that changes something, behind it or before it.

        Returns:
            How many calls there are.
        """

        def kill(real: Callable[[], Any]) -> None:
            if effective:
                real()
            raise Killed

        def judge(failure: BaseException | None, _: str) -> None:
            assert isinstance(failure, Killed)

        calls = tuple(name for name in self.calls if name not in self.quiet)
        return self._go_wrong(path, calls, kill, judge)

    def _go_wrong(
        self,
        path: Path,
        calls: tuple[str, ...],
        wrong: Callable[[Callable[[], Any]], Any],
        judge: Callable[[BaseException | None, str], None],
    ) -> int:
        target = self.make(path / "whole")
        with faults(path, calls) as counted:
            assert self.live(target)[1] is None
        for number in range(1, counted.calls + 1):
            target = self.make(path / str(number))
            with faults(path, calls, number, wrong) as made:
                checkpoint, failure = self.live(target)
            if isinstance(failure, Killed):
                _close_all(path / str(number))
            try:
                judge(failure, made.name)
                self.finish(target, checkpoint)
            except BaseException as exc:
                exc.add_note(f"{made.name}, call {number} of {counted.calls}")
                raise
        return counted.calls

    def fill_again_and_again(self, target: _TargetT, rooms: range) -> None:
        """Give the disk room for a little more each time: in the end all is there."""
        checkpoint = NOTHING_KEPT
        real = os.write
        failures: list[SinkErrorKind] = []
        for room in rooms:
            left = room

            def write(fd: int, data: bytes | memoryview) -> int:
                nonlocal left
                if not left:
                    raise OSError(errno.ENOSPC, "")
                done = real(fd, data[:left])
                left -= done
                return done

            driver = Driver(target.sink(), self.batches, checkpoint)
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
        self.finish(target, checkpoint)


def open_below(directory: Path) -> set[str]:
    """List what is open below a directory; the rest of the process is not the sink's."""
    return {one for one in open_fds() if str(directory) in one}


def _close_all(below: Path) -> None:
    """Close what is open below a directory, as the end of a process does."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith(str(below)):
                os.close(int(name))
