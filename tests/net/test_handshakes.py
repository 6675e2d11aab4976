"""Handshakes of clients: how many, for how long, and what the log says of those that fail."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from repltap.net import handshakes
from repltap.net.handshakes import HANDSHAKE_SECONDS, Handshakes
from repltap.tls import AuthClients
from tests.servers.certificates import Authority
from tests.stored import HANG_SECONDS, until
from tests.tls_files import authority, client, server


class Rig:
    """Handshakes, and the ends of clients."""

    def __init__(self, directory: Path, auth: AuthClients, limit: int) -> None:
        self.ca: Authority = authority(directory)
        self.secured: list[socket.socket] = []
        self.tls = server(self.ca.issue(), auth)
        self.handshakes = Handshakes(self.tls, self.secured.append, limit)
        self.ends: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))

    def connect(self) -> socket.socket:
        """Connect; nothing is said yet."""
        end = socket.create_connection(self._listening.getsockname(), HANG_SECONDS)
        ours, _ = self._listening.accept()
        ours.setblocking(False)
        self.ends.append(end)
        self.handshakes.begin(ours)
        return end

    async def shake(
        self, end: socket.socket, context: ssl.SSLContext | None = None
    ) -> ssl.SSLSocket:
        """Do what a client does, in a thread."""
        context = context or client(self.ca.ca_file, self.ca.issue()).context
        made = await asyncio.to_thread(context.wrap_socket, end, server_hostname="127.0.0.1")
        self.ends.append(made)
        return made

    def close(self) -> None:
        self.handshakes.close()
        for sock in (*self.ends, *self.secured, self._listening):
            sock.close()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(tmp_path, AuthClients.YES, 3)
    yield made
    made.close()


async def test_a_handshake(rig: Rig) -> None:
    end = await rig.shake(rig.connect())
    await until("the server's side", lambda: rig.secured)
    assert isinstance(rig.secured[0], ssl.SSLSocket)
    assert len(rig.handshakes) == 0
    await asyncio.to_thread(end.sendall, b"hello")
    assert rig.handshakes.failed == 0


async def test_who_says_nothing_makes_room_for_who_does(rig: Rig) -> None:
    """Four more than are allowed say nothing; one that speaks is served, the oldest went."""
    silent = [rig.connect() for _ in range(7)]
    assert len(rig.handshakes) == 3
    await rig.shake(rig.connect())
    await until("the server's side", lambda: rig.secured)
    assert len(rig.handshakes) == 2
    assert rig.handshakes.failed == 5
    assert [one.recv(1) for one in silent[:5]] == [b""] * 5


async def test_drops_who_takes_too_long(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that sends a byte now and then, too."""
    slow = rig.connect()
    slow.sendall(b"\x16")
    rig.connect()
    rig.handshakes.tick()
    assert len(rig.handshakes) == 2
    monkeypatch.setattr(handshakes, "HANDSHAKE_SECONDS", 0.0)
    await until("its end", lambda: rig.handshakes.tick() or len(rig.handshakes) == 0)
    assert rig.handshakes.failed == 2
    assert HANDSHAKE_SECONDS <= 30


async def test_what_is_no_tls(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(3):
        rig.connect().sendall(b"*1\r\n$4\r\nPING\r\n")
    await until("their end", lambda: rig.handshakes.failed == 3)
    assert len(rig.handshakes) == 0
    lines = [one for one in caplog.messages if "does not speak TLS" in one]
    assert len(lines) == 1  # the others are counted


async def test_certificates_that_are_refused(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """Each client is told so by an alert, and the log says it too."""
    caplog.set_level(logging.INFO)
    stranger = authority(rig.ca.ca_file.parent, "other").issue()
    for pair, said in (
        (None, "has shown no certificate"),
        (stranger, "its certificate is refused"),
        (rig.ca.issue(days=-1), "certificate has expired"),
    ):
        end = await rig.shake(rig.connect(), client(rig.ca.ca_file, pair).context)
        with pytest.raises(ssl.SSLError, match="(?i)alert"):
            await asyncio.to_thread(end.recv, 1)
        await until(said, lambda said=said: any(said in one for one in caplog.messages))
    wrong = client(stranger.ca_file, rig.ca.issue()).context
    with pytest.raises(ssl.SSLCertVerificationError):
        await rig.shake(rig.connect(), wrong)
    await until("the log", lambda: any("it refuses us" in one for one in caplog.messages))
    assert rig.secured == []
    assert rig.handshakes.failed == 4


async def test_who_leaves(rig: Rig) -> None:
    rig.connect().close()
    await until("its end", lambda: len(rig.handshakes) == 0)
    assert rig.handshakes.failed == 1


async def test_closing_with_some_half_way(rig: Rig) -> None:
    silent = rig.connect()
    rig.handshakes.close()
    assert silent.recv(1) == b""
    assert len(rig.handshakes) == 0
    assert rig.handshakes.failed == 0


async def test_dropped_while_the_thread_is_at_work(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Found by a flood: asyncio wrote a traceback for each failure that nobody had looked at."""
    working, go_on = threading.Event(), threading.Event()

    def step(sock: ssl.SSLSocket) -> int:
        working.set()
        assert go_on.wait(HANG_SECONDS)
        raise ssl.SSLError("it has failed meanwhile")

    monkeypatch.setattr(handshakes, "_step", step)
    end = rig.connect()
    end.sendall(b"hello")
    await until("the thread", working.is_set)
    assert rig.handshakes.drop_oldest()
    assert len(rig.handshakes) == 1  # the thread has its socket
    go_on.set()
    await until("its end", lambda: len(rig.handshakes) == 0)
    assert rig.handshakes.failed == 1
    gc.collect()
    assert "never retrieved" not in caplog.text
