"""The worker's end: it is woken, stopped and orphaned in time, and never waits for its relay."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from repltap.config import LogConfig, SinkConfig
from repltap.delivery import control
from repltap.delivery.control import RelayBell
from repltap.delivery.messages import GREW, STOP, WAIT, WANT_SNAPSHOT, Lines, Start, read_report
from repltap.delivery.report import WorkerReport, WorkerState
from repltap.errors import LocalProtocolError

LONG = 60.0
REPORT = WorkerReport(state=WorkerState.STREAMING, records=5)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, RelayBell]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(LONG)
        yield ours, RelayBell(theirs)


def test_start(ends: tuple[socket.socket, RelayBell]) -> None:
    relay, bell = ends
    sink = SinkConfig(name="a", type="file", settings={}, origin="here")
    start = Start(data_dir=Path("/d"), source="s", sink=sink, log=LogConfig())
    relay.sendall(start.as_line())
    assert bell.start() == start


def test_a_relay_that_is_none(ends: tuple[socket.socket, RelayBell]) -> None:
    relay, bell = ends
    relay.close()
    with pytest.raises(LocalProtocolError):
        bell.start()


def test_it_is_woken_once_for_each_wait(ends: tuple[socket.socket, RelayBell]) -> None:
    relay, bell = ends
    bell.wait(0)
    bell.wait(0)
    assert relay.recv(100) == WAIT  # it is still known that it waits
    relay.sendall(GREW)
    bell.wait(LONG)
    bell.wait(0)
    assert relay.recv(100) == WAIT
    assert not bell.stopping


def test_it_is_woken_while_it_waits(ends: tuple[socket.socket, RelayBell]) -> None:
    relay, bell = ends
    waiter = threading.Thread(target=bell.wait, args=(LONG,))
    waiter.start()
    assert relay.recv(100) == WAIT
    relay.sendall(GREW)
    waiter.join(LONG)
    assert not waiter.is_alive()


@pytest.mark.parametrize("how", ["stop", "close", "nonsense"])
def test_it_stops(ends: tuple[socket.socket, RelayBell], how: str) -> None:
    relay, bell = ends
    assert not bell.stopping
    if how == "close":
        relay.close()
    else:
        relay.sendall(STOP if how == "stop" else b"hello\n")
    assert bell.stopping
    bell.wait(LONG)
    bell.report(REPORT)
    bell.want_snapshot()


def test_what_it_says_arrives(
    ends: tuple[socket.socket, RelayBell], monkeypatch: pytest.MonkeyPatch
) -> None:
    relay, bell = ends
    clock = SimpleNamespace(monotonic=lambda: now)
    monkeypatch.setattr(control, "time", clock)
    now = 1000.0
    bell.report(REPORT)
    for _ in range(5):
        bell.want_snapshot()  # once is enough for a second
    first, second = Lines("say").receive(relay.recv(10_000))
    assert read_report(first) == REPORT
    assert b'"%s"' % str(second["say"]).encode() in WANT_SNAPSHOT
    now += 1.0
    bell.want_snapshot()
    assert relay.recv(10_000) == WANT_SNAPSHOT


def test_a_relay_that_reads_nothing_delays_nobody(ends: tuple[socket.socket, RelayBell]) -> None:
    relay, bell = ends
    relay.setblocking(False)
    for _ in range(20_000):
        bell.report(REPORT)
    bell.wait(0)
    lines = Lines("say")
    heard = 0
    for _ in range(2):
        with pytest.raises(BlockingIOError):
            while True:
                # Whole lines only, wherever the socket was full.
                heard += len(list(lines.receive(relay.recv(65536))))
        bell.report(REPORT)
    assert 0 < heard < 20_000
