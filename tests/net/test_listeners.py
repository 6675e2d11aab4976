"""The addresses of the port: which there are, what they are called, and who is turned away."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from repltap.config import ListenConfig
from repltap.errors import ListenError
from repltap.net.admission import Admission
from repltap.net.listeners import Listeners
from repltap.values import Endpoint
from tests.stored import HANG_SECONDS, until
from tests.tls_files import authority, server

PLAIN = ListenConfig(host="127.0.0.1", port=0)


class Rig:
    """Listeners, and who has come out of them."""

    def __init__(self, config: ListenConfig) -> None:
        self.ready: list[socket.socket] = []
        self.admission = Admission(config)
        self.listeners = Listeners(
            config, self.admission, lambda: len(self.ready), self.ready.append
        )

    def close(self) -> None:
        self.listeners.stop()
        for sock in self.ready:
            sock.close()


@contextlib.asynccontextmanager
async def rig(config: ListenConfig) -> AsyncIterator[Rig]:
    made = Rig(config)
    await made.listeners.bind()
    try:
        yield made
    finally:
        made.close()


def both(tmp_path: Path) -> ListenConfig:
    pair = authority(tmp_path).issue()
    return replace(PLAIN, tls_address=Endpoint("127.0.0.1", 0), tls=server(pair))


async def test_one_address_without_tls() -> None:
    async with rig(PLAIN) as it:
        listeners = it.listeners
        assert (listeners.tls_port, listeners.tls_address) == (None, "")
        assert listeners.addresses == [f"127.0.0.1:{listeners.port}"]
        assert listeners.announced_port(tls=True) == listeners.port  # there is no other
        listeners.start()
        with socket.create_connection(("127.0.0.1", listeners.port), HANG_SECONDS):
            await until("it is there", lambda: len(it.ready) == 1)
        assert (listeners.connections, listeners.handshakes_failed) == (1, 0)
        port = listeners.port
        listeners.stop()
        assert listeners.port == port  # what the status shows until the end
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), HANG_SECONDS)


async def test_two_addresses(tmp_path: Path) -> None:
    async with rig(both(tmp_path)) as it:
        listeners = it.listeners
        assert listeners.addresses == [
            f"127.0.0.1:{listeners.port}",
            f"127.0.0.1:{listeners.tls_port} (TLS)",
        ]
        assert listeners.announced_port(tls=True) == listeners.tls_port
        assert listeners.announced_port(tls=False) == listeners.port != listeners.tls_port


async def test_tls_alone(tmp_path: Path) -> None:
    async with rig(replace(both(tmp_path), plain=False)) as it:
        assert it.listeners.port == it.listeners.tls_port
        assert it.listeners.addresses == [f"{it.listeners.tls_address} (TLS)"]


async def test_who_is_half_way_counts_as_a_client(tmp_path: Path) -> None:
    """With room for one, a silent one makes room; a client that is served does not."""
    async with rig(both(tmp_path)) as it:
        it.admission.max_clients = 1
        it.listeners.start()
        where = ("127.0.0.1", it.listeners.tls_port)
        silent = socket.create_connection(where, HANG_SECONDS)
        await until("the first", lambda: it.listeners.connections == 1)
        second = socket.create_connection(where, HANG_SECONDS)
        assert await asyncio.to_thread(silent.recv, 1) == b""  # it went for the second
        assert (it.admission.rejected, it.listeners.handshakes_failed) == (0, 1)
        second.close()
        await until("nobody", lambda: it.listeners.handshakes_failed == 2)
        silent.close()
        with socket.create_connection(("127.0.0.1", it.listeners.port), HANG_SECONDS):
            await until("a client", lambda: len(it.ready) == 1)
            with socket.create_connection(where, HANG_SECONDS) as third:
                assert await asyncio.to_thread(third.recv, 1) == b""
        assert it.admission.rejected == 1


async def test_an_address_in_use_leaves_none_open(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        taken = Endpoint("127.0.0.1", busy.getsockname()[1])
        made = Rig(replace(both(tmp_path), tls_address=taken))
        with pytest.raises(ListenError, match="--listen-tls-address"):
            await made.listeners.bind()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", made.listeners.port), HANG_SECONDS)
