"""Accepting on an address, and what happens when that can't be done for a while."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator

import pytest

from repltap.errors import ListenError
from repltap.net.listener import Listener
from tests.stored import until


class Rig:
    """A listener, and whom it has accepted."""

    def __init__(self) -> None:
        self.accepted: list[socket.socket] = []
        self.listener = Listener("127.0.0.1", 0, "--listen", self.accepted.append)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.listener.port), 5)

    def close(self) -> None:
        self.listener.stop()
        for sock in self.accepted:
            sock.close()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    await made.listener.bind()
    yield made
    made.close()


async def test_accepts_from_its_start_to_its_stop(rig: Rig) -> None:
    with rig.connect(), rig.connect():
        await asyncio.sleep(0)
        assert rig.accepted == []
        rig.listener.start()
        await until("both", lambda: len(rig.accepted) == 2)
        assert not rig.accepted[0].getblocking()
    rig.listener.stop()
    with pytest.raises(ConnectionRefusedError):
        rig.connect()


async def test_it_rests(rig: Rig) -> None:
    rig.listener.start()
    rig.listener.rest(60)
    with rig.connect() as one:
        one.settimeout(0.05)
        with pytest.raises(TimeoutError):
            await asyncio.to_thread(one.recv, 1)
        assert rig.accepted == []
        rig.listener.rest(0)
        await until("it", lambda: len(rig.accepted) == 1)


async def test_an_address_in_use(rig: Rig) -> None:
    other = Listener("127.0.0.1", rig.listener.port, "--listen-tls-address", rig.accepted.append)
    with pytest.raises(ListenError, match="already in use .*another with --listen-tls-address"):
        await other.bind()


class Listening:
    """A listening socket that can't accept at first."""

    def __init__(self, sock: socket.socket, failures: int) -> None:
        self._sock = sock
        self.failures = failures

    def accept(self) -> tuple[socket.socket, object]:
        self.failures -= 1
        if self.failures >= 0:
            raise OSError(errno.EMFILE, "Too many open files")
        return self._sock.accept()

    def __getattr__(self, name: str) -> object:
        return getattr(self._sock, name)


async def test_out_of_descriptors(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who waits is served when some close: the loop must not spin meanwhile, nor give up."""
    monkeypatch.setattr(Listener._pause, "__defaults__", (0.01,))
    over: list[socket.socket] = []
    monkeypatch.setattr(rig.listener, "_resume", over.append)
    failing = Listening(rig.listener._sockets[0], 2)
    rig.listener._sockets = [failing]  # type: ignore[list-item]
    rig.listener.start()
    with rig.connect():
        for left in (1, 0):
            await until("a failure", lambda: over)
            for _ in range(5):
                await asyncio.sleep(0)
            assert failing.failures == left
            Listener._resume(rig.listener, over.pop())
        await until("a socket", lambda: rig.accepted)
        assert caplog.text.count("can't accept a connection: Too many open files") == 2


async def test_a_pause_outlived(rig: Rig) -> None:
    listening = rig.listener._sockets[0]
    rig.listener._pause(listening)
    rig.listener.stop()
    rig.listener._resume(listening)  # closed meanwhile: nothing to do
    rig.listener.stop()
