"""What the service manager hears, through a socket that stands in for its own."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from repltap.notify import ServiceNotifier, describe
from repltap.status.link import LinkState
from repltap.status.relay import RelayStatus
from repltap.status.replicas import ReplicaState
from repltap.status.sinks import SinkState, SinkStatus
from tests.net.admin.fakes import relay_status, replica, upstream
from tests.stored import open_fds, until


class Manager:
    """The receiving end of sd_notify."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)

    def heard(self) -> list[list[str]]:
        """Take what has arrived: each datagram as its lines."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    abstract = request.param == "abstract"
    made = Manager(f"@repltap-{secrets.token_hex(8)}" if abstract else str(tmp_path / "notify"))
    yield made
    made.close()


@asynccontextmanager
async def told(notifier: ServiceNotifier, status: RelayStatus) -> AsyncIterator[None]:
    task = asyncio.get_running_loop().create_task(notifier.run(lambda: status))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        notifier.close()


async def test_it_says_once_that_it_is_ready_and_again_how_it_is(manager: Manager) -> None:
    notifier = ServiceNotifier(manager.address)
    notifier.period_seconds = 0.001
    heard: list[list[str]] = []
    async with told(notifier, relay_status()):
        await until("three messages", lambda: heard.extend(manager.heard()) or len(heard) > 2)
    line = f"STATUS={describe(relay_status())}"
    assert heard[0] == ["READY=1", line]
    assert heard[1:] == [[line]] * (len(heard) - 1)


async def test_a_watchdog_gets_signs_of_life_three_times_a_period(manager: Manager) -> None:
    notifier = ServiceNotifier(manager.address, 0.003)
    assert notifier.period_seconds == 0.001
    heard: list[list[str]] = []
    async with told(notifier, relay_status()):
        await until("three messages", lambda: heard.extend(manager.heard()) or len(heard) > 2)
    assert all(message[-1] == "WATCHDOG=1" for message in heard)


async def test_a_loop_that_is_stuck_gives_no_sign_of_life(manager: Manager) -> None:
    notifier = ServiceNotifier(manager.address, 0.003)
    async with told(notifier, relay_status()):
        await until("a message", manager.heard)
        manager.heard()
        time.sleep(0.05)  # the fault itself: sixteen watchdog periods
        assert manager.heard() == []
        await until("another", manager.heard)


async def test_a_shutdown_is_said_once_and_life_goes_on(manager: Manager) -> None:
    notifier = ServiceNotifier(manager.address, 0.003)
    heard: list[list[str]] = []
    async with told(notifier, relay_status()):
        await until("ready", manager.heard)
        manager.heard()
        notifier.stopping()
        await until("three messages", lambda: heard.extend(manager.heard()) or len(heard) > 2)
    assert heard[0] == ["STOPPING=1", "STATUS=shutting down", "WATCHDOG=1"]
    assert heard[1] == [f"STATUS=shutting down: {describe(relay_status())}", "WATCHDOG=1"]


async def test_what_was_not_heard_is_said_again(
    manager: Manager, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A manager that is being restarted has no socket for a moment."""
    late = str(tmp_path / "late")
    notifier = ServiceNotifier(late)
    notifier.period_seconds = 0.001
    async with told(notifier, relay_status()):
        await until("a failure", lambda: caplog.messages)
        listener = Manager(late)
        heard = await until("a message", listener.heard)
        listener.close()
    assert heard[0][0] == "READY=1"
    assert caplog.messages == [
        "can't tell the service manager how the relay is: No such file or directory"
    ]


async def test_a_manager_that_does_not_read_is_not_waited_for(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    notifier = ServiceNotifier(manager.address)
    for _ in range(100_000):  # many times what its queue takes
        notifier.starting("opening the store")
    queued = len(manager.heard())
    assert 0 < queued < 100_000
    notifier.period_seconds = 0.001
    async with told(notifier, relay_status()):
        await until("a message", lambda: any("READY=1" in m for m in manager.heard()))
    manager.close()


async def test_without_a_manager_nothing_is_opened_and_the_task_ends() -> None:
    before = open_fds()
    notifier = ServiceNotifier.from_environment({})
    assert open_fds() == before
    await notifier.run(relay_status)
    notifier.starting("opening")
    notifier.stopping()
    notifier.close()


def test_an_address_of_another_kind_is_told_and_let_be(caplog: pytest.LogCaptureFixture) -> None:
    ServiceNotifier("vsock:2:1234").stopping()
    assert caplog.messages == ["NOTIFY_SOCKET=vsock:2:1234 is no address of a unix socket"]


@pytest.mark.parametrize(
    ("period", "pid", "seconds"),
    [
        ("30000000", "", 5.0),
        ("3000000", "own", 1.0),
        ("3000000", "1", None),
        ("0", "", None),
        ("soon", "", None),
        ("", "", None),
    ],
)
def test_the_watchdog_is_the_one_that_is_meant_for_this_process(
    period: str, pid: str, seconds: float | None, manager: Manager
) -> None:
    pid = pid.replace("own", str(os.getpid()))
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": period, "WATCHDOG_PID": pid}
    notifier = ServiceNotifier.from_environment(environ)
    assert environ == {}  # no child inherits them
    assert notifier.period_seconds == (seconds or 5.0)
    notifier.stopping()
    expected = [] if seconds is None else ["WATCHDOG=1"]
    assert manager.heard() == [["STOPPING=1", "STATUS=shutting down", *expected]]
    notifier.close()


def test_the_line_is_one_line_whatever_the_reason() -> None:
    status = relay_status(
        upstream=upstream(state=LinkState.CONNECT, last_error="no\nREADY=1\n" + 300 * "x")
    )
    line = describe(status)
    assert "\n" not in line
    assert line.startswith("master 127.0.0.1:6379 connect (no READY=1 xxx")
    assert len(line) < 300


def test_the_line_says_what_an_operator_asks_first() -> None:
    sinks = (
        SinkStatus(name="a", type="file", state=SinkState.STREAMING),
        SinkStatus(name="b", type="kafka", state=SinkState.FAILED),
    )
    replicas = (replica(), replica(state=ReplicaState.WAITING))
    status = replace(relay_status(), sinks=sinks, replicas=replicas, disk_full=True)
    assert describe(status) == (
        "master 127.0.0.1:6379 connected, offset 5050, 1 of 2 replicas online, "
        "1 of 2 sinks delivering, the disk is full"
    )
