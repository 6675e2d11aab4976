"""repltap as a service of systemd: what it tells the manager, and what it may call."""

from __future__ import annotations

import queue
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.deploy.units import settings
from tests.servers.lab import Lab
from tests.servers.relay import Relay
from tests.servers.waiting import PATIENCE_SECONDS, wait_for

pytestmark = pytest.mark.relay_only


class Manager:
    """A real notify socket, as systemd gives one to a service.

    It reads at once, as systemd does: a socket holds few datagrams (`max_dgram_qlen`, 10), some
    signs of life, and what is said to a full one is lost.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._come: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read, name="manager", daemon=True)
        self._thread.start()

    def wait(self, line: str, timeout_seconds: float = PATIENCE_SECONDS) -> None:
        """Go on until this line has come.

        Raises:
            TimeoutError: It has not, in time.
        """
        until = time.monotonic() + timeout_seconds
        while not any(re.fullmatch(line, each) for each in self._next(until)):
            pass

    def drain(self) -> None:
        """Take what has been sent."""
        self._socket.sendto(_MARK.encode(), str(self.path))  # behind all of it
        while self._next(time.monotonic() + PATIENCE_SECONDS) != [_MARK]:
            pass

    def close(self) -> None:
        self._socket.sendto(b"", str(self.path))
        self._thread.join(PATIENCE_SECONDS)
        self._socket.close()

    def _next(self, until: float) -> list[str]:
        try:
            lines = self._come.get(timeout=max(0.0, until - time.monotonic())).split("\n")
        except queue.Empty:
            raise TimeoutError("the manager was told nothing more") from None
        self.heard += lines
        return lines

    def _read(self) -> None:
        while told := self._socket.recv(4096):
            self._come.put(told.decode())


_MARK = "so far"


@pytest.fixture
def manager(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    made = Manager(lab.directory / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(made.path))
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    yield made
    made.close()


def test_a_manager_hears_of_a_life(lab: Lab, manager: Manager) -> None:
    master = lab.master("redis-7.0")
    relay = lab.relay(master, sink=f"file:{lab.directory / 'audit.jsonl'}")
    manager.wait("READY=1")
    assert "STOPPING=1" not in manager.heard
    relay.wait_ready()  # it does listen
    manager.wait("STATUS=master 127.0.0.1:[0-9]+ connected, .*, 1 of 1 sinks delivering")
    manager.wait("WATCHDOG=1")

    wait_for("the sink's process", relay.children)
    for process in relay.children():
        assert {"NOTIFY_SOCKET", "WATCHDOG_USEC"}.isdisjoint(list(process.environ()))

    assert relay.stop() == 0
    manager.drain()
    assert manager.heard.count("READY=1") == 1
    assert manager.heard.count("STOPPING=1") == 1


def test_a_relay_that_is_stuck_gives_no_sign_of_life(lab: Lab, manager: Manager) -> None:
    relay = lab.relay(lab.master("redis-7.0"))
    manager.wait("WATCHDOG=1")
    relay.freeze()
    wait_for("it is frozen", lambda: psutil.Process(relay.pid).status() == psutil.STATUS_STOPPED)
    manager.drain()
    with pytest.raises(TimeoutError):
        manager.wait("WATCHDOG=1", timeout_seconds=1.0)  # three periods
    relay.thaw()
    manager.wait("WATCHDOG=1")


class Traced(Relay):
    """A relay under strace: which system calls it and its sinks make."""

    def command(self) -> list[str]:
        return ["strace", "-f", "-q", "-o", str(self.calls_path), *super().command()]

    @property
    def calls_path(self) -> Path:
        return self.directory / "calls"

    def calls(self) -> set[str]:
        return set(
            re.findall(r"^\d+ +(\w+)\(", self.calls_path.read_text(errors="replace"), re.MULTILINE)
        )


def expanded(filters: list[str]) -> set[str]:
    """What is left of the kernel's calls: lists with ~ take away."""
    allowed: set[str] = set()
    for line in filters:
        names = set().union(*(_calls_in(name) for name in line.removeprefix("~").split()))
        allowed = allowed - names if line.startswith("~") else allowed | names
    return allowed


def _calls_in(name: str) -> set[str]:
    if not name.startswith("@"):
        return {name}
    done = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
    )
    lines = [line.strip() for line in done.stdout.splitlines()[1:]]
    return set().union(*(_calls_in(line) for line in lines if line and not line.startswith("#")))


@pytest.mark.skipif(
    not (shutil.which("strace") and shutil.which("systemd-analyze")),
    reason="no strace or no systemd-analyze",
)
def test_the_unit_allows_every_call_that_a_relay_and_its_sinks_make(lab: Lab) -> None:
    allowed = expanded(settings("repltap.service")["SystemCallFilter"]) | expanded(["@default"])
    assert {"read", "sendfile", "fsync"} <= allowed
    assert "mount" not in allowed

    master = lab.master("redis-7.0")
    target = lab.directory / "audit.jsonl"
    sinks = f"file:{target},snapshot=always log:{lab.directory / 'log'} metrics stdout"
    relay = Traced(lab.directory / "traced", "traced", master.port, {"sink": sinks})
    lab.add(relay)
    relay.wait_link(60.0)
    replica = lab.server("redis-7.0", upstream=relay)
    replica.wait_ready()
    replica.wait_link(60.0)
    master.call("SET", "seen", "by-all")
    wait_for("the write at the replica", lambda: replica.call("GET", "seen") == b"by-all", 60.0)
    wait_for("the write in the file", lambda: "by-all" in target.read_text(), 60.0)
    relay.status()
    # strace keeps its child's end for itself until it has ended too.
    for child in psutil.Process(relay.pid).children():
        child.send_signal(signal.SIGTERM)
    assert relay.wait(60.0) == 0
    made = relay.calls()
    assert {"sendfile", "fsync", "sched_setscheduler"} <= made
    assert made - allowed == set()
