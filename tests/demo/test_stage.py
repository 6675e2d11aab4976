"""The whole demo with real processes: it ends with equal datasets and leaves nothing behind."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.servers.waiting import wait_for

pytestmark = pytest.mark.e2e


class Playing:
    """A demo in a process of its own, its output as it comes."""

    def __init__(self, tmp_path: Path, *flags: str) -> None:
        environ = os.environ | {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "repltap", "demo", "--rate", "500", *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environ,
            start_new_session=True,
        )
        self.text = ""

    def until(self, pattern: str) -> re.Match[str]:
        """Read on until a line matches; the test's timeout is the limit."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.text += line
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"no line matches {pattern!r}:\n{self.text}")

    def end(self) -> int:
        assert self.process.stdout is not None
        self.text += self.process.stdout.read()
        return self.process.wait()

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def master(self) -> psutil.Process:
        """The child that listens on the master's port; a pid does not tell who was first."""
        shown = re.search(r"master :(\d+)", self.text)
        assert shown, self.text
        [master] = [child for child in self.children() if int(shown[1]) in _listening(child)]
        return master


def _listening(process: psutil.Process) -> set[int]:
    sockets = process.net_connections("tcp")
    return {one.laddr.port for one in sockets if one.status == psutil.CONN_LISTEN}


def _running_in(place: Path) -> list[int]:
    """The processes of a demo: servers work in its directory, all others are told of it."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has ended, or is another user's
            told = Path(process.cwd()), Path(process.environ().get("TMPDIR", "/"))
            if any(path.is_relative_to(place) for path in told):
                found.append(process.pid)
    return found


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Playing]]:
    playing: list[Playing] = []
    yield playing
    for one in playing:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()
        if one.process.stdout is not None:
            one.process.stdout.close()


def test_it_ends_by_itself_with_equal_datasets(tmp_path: Path, started: list[Playing]) -> None:
    demo = Playing(tmp_path, "--seconds", "1")
    started.append(demo)
    assert demo.end() == 0, demo.text
    assert "datasets equal: DEBUG DIGEST" in demo.text
    assert "the master served 1 full" in demo.text
    assert "all processes stopped" in demo.text
    assert _running_in(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_killed_relay_comes_back(tmp_path: Path, started: list[Playing]) -> None:
    demo = Playing(tmp_path)
    started.append(demo)
    pid = int(demo.until(r"kill -9 (\d+)")[1])
    assert len(demo.children()) == 4
    assert len(_running_in(tmp_path)) >= 5  # with the demo; the sink's process may be there, too
    os.kill(pid, signal.SIGKILL)
    demo.until(r"the relay ended \(exit code -9\); started again")
    demo.until(r"lag \d+ bytes")
    demo.process.send_signal(signal.SIGINT)
    assert demo.end() == 0, demo.text
    assert "datasets equal: DEBUG DIGEST" in demo.text
    assert "the master served 1 full" in demo.text
    assert _running_in(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_master_that_ends_is_told_and_all_is_stopped(
    tmp_path: Path, started: list[Playing]
) -> None:
    demo = Playing(tmp_path, "--dir", str(tmp_path / "kept"))
    started.append(demo)
    demo.until(r"lag \d+ bytes")
    # The sink's process lets all others go first: on a busy machine it may not have begun yet.
    audit = tmp_path / "kept" / "audit"
    wait_for("an order", lambda: any(file.stat().st_size for file in audit.iterdir()))
    children = demo.children()
    demo.master().kill()
    assert demo.end() == 1
    assert re.search(r"repltap: error: (the )?master ", demo.text), demo.text
    assert not any(child.is_running() for child in children)
    assert (tmp_path / "kept" / "relay" / "repltap.log").exists()
    # The orders of the demo are in the audit file, and nothing else is.
    records = "".join(file.read_text() for file in audit.iterdir())
    keys = {json.loads(line)["keys"][0].partition(":")[0] for line in records.splitlines()}
    assert keys == {"orders"}


def test_interrupted_while_it_starts(tmp_path: Path, started: list[Playing]) -> None:
    demo = Playing(tmp_path)
    started.append(demo)
    demo.until("starting")
    demo.process.send_signal(signal.SIGTERM)
    assert demo.end() == 1
    assert "stopped before the datasets were compared" in demo.text
    assert list(tmp_path.iterdir()) == []
