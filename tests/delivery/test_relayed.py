"""A worker as a relay starts it: it does as the line says, and ends with it."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from repltap.config import LogConfig, SinkConfig
from repltap.delivery.messages import STOP, Lines, Start, read_report
from repltap.delivery.report import WorkerReport, WorkerState
from tests.servers.jotter import TYPE
from tests.stored import HANG_SECONDS, SET, held


class Line:
    """The relay's end, and the process at the other."""

    def __init__(self, ours: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self.ours = ours
        self.process = process
        self._lines = Lines("say")

    def until(self, state: WorkerState, records: int = 0) -> WorkerReport:
        while data := self.ours.recv(65536):
            for message in self._lines.receive(data):
                if message["say"] == "report":
                    report = read_report(message)
                    if report.state is state and report.records >= records:
                        return report
        raise AssertionError("the worker has ended")


@contextmanager
def worker(data_dir: Path, kind: str = TYPE) -> Iterator[Line]:
    ours, theirs = socket.socketpair()
    ours.settimeout(HANG_SECONDS)
    settings = {"path": str(data_dir / "out")}
    sink = SinkConfig(name="a", type=kind, settings=settings, origin="a test")
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "repltap.delivery.relayed", "a", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stderr=subprocess.DEVNULL,
        )
        try:
            theirs.close()
            start = Start(data_dir=data_dir, source="s", sink=sink, log=LogConfig())
            ours.sendall(start.as_line())
            yield Line(ours, process)
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return held(tmp_path, SET * 10)


@pytest.mark.parametrize("how", ["stop", "close"])
def test_it_delivers_and_ends_when_asked_or_alone(data_dir: Path, how: str) -> None:
    with worker(data_dir) as line:
        line.until(WorkerState.STREAMING, records=10)
        if how == "stop":
            line.ours.sendall(STOP)
        else:
            line.ours.close()
        assert line.process.wait(HANG_SECONDS) == 0
    assert (data_dir / "out").read_bytes().count(b"\n") == 10
    assert (data_dir / "checkpoints" / "a.json").exists()


def test_what_is_wrong_with_its_settings_is_reported(data_dir: Path) -> None:
    with worker(data_dir, "nowhere") as line:
        assert "nowhere" in line.until(WorkerState.FAILED).last_error
        assert line.process.wait(HANG_SECONDS) == 2


def test_a_crash_is_reported_with_what_was_counted(data_dir: Path) -> None:
    (data_dir / "out.fault").write_text("crash")
    with worker(data_dir) as line:
        report = line.until(WorkerState.FAILED)
        assert "told to crash" in report.last_error
        assert line.process.wait(HANG_SECONDS) == 1


def test_it_waits_while_another_delivers_to_the_sink(data_dir: Path) -> None:
    (data_dir / "checkpoints").mkdir(exist_ok=True)
    fd = os.open(data_dir / "checkpoints" / "a.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with worker(data_dir) as line:
            assert "another process" in line.until(WorkerState.WAITING).last_error
            assert not (data_dir / "out").exists()
            fcntl.flock(fd, fcntl.LOCK_UN)
            line.until(WorkerState.STREAMING, records=10)
    finally:
        os.close(fd)
