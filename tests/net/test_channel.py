"""A socket with TLS and without: bytes, files, backpressure and both kinds of end."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from repltap.net.channel import PIECE_BYTES, PlainChannel, channel_of
from tests.servers.waiting import PATIENCE_SECONDS, readable
from tests.tls_files import authority, client, server


class Ends:
    """A channel, and the peer's socket, which blocks."""

    def __init__(self, directory: Path, *, tls: bool) -> None:
        ours, self.peer = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 << 10)
        ours.setblocking(False)
        if tls:
            ca = authority(directory)
            secured = server(ca.issue()).context.wrap_socket(
                ours, server_side=True, do_handshake_on_connect=False
            )
            self.peer = _shaken(secured, self.peer, client(ca.ca_file).context)
            ours = secured
        self.channel = channel_of(ours)
        self.peer.settimeout(PATIENCE_SECONDS)

    def close(self) -> None:
        self.channel.close()
        self.peer.close()


def _shaken(ours: ssl.SSLSocket, peer: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    theirs = context.wrap_socket(peer, server_hostname="localhost", do_handshake_on_connect=False)
    theirs.setblocking(False)
    waiting = [ours, theirs]
    while waiting:
        for one in list(waiting):
            try:
                one.do_handshake()
                waiting.remove(one)
            except ssl.SSLWantReadError:
                readable(one.fileno(), 0.01)
    theirs.setblocking(True)
    return theirs


@pytest.fixture(params=["plain", "tls"])
def ends(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ends]:
    made = Ends(tmp_path, tls=request.param == "tls")
    yield made
    made.close()


def _received(ends: Ends, size: int) -> bytes:
    buffer = bytearray(4096)
    got = b""
    while len(got) < size:
        try:
            count = ends.channel.receive_into(memoryview(buffer))
        except BlockingIOError:
            assert readable(ends.channel._sock.fileno())
            continue
        got += buffer[:count]
    return got


def test_receiving_what_is_larger_than_the_buffer(ends: Ends) -> None:
    data = os.urandom(10_000)
    ends.peer.sendall(data)
    assert _received(ends, 10_000) == data
    assert not ends.channel.has_input
    with pytest.raises(BlockingIOError):
        ends.channel.receive_into(memoryview(bytearray(10)))


def test_sending_more_than_the_socket_takes(ends: Ends, tmp_path: Path) -> None:
    """Bytes and a file in turn; each byte that was accepted arrives, once and in order."""
    data, stored = os.urandom(300_000), os.urandom(500_000)
    file = tmp_path / "file"
    file.write_bytes(stored)
    fd = os.open(file, os.O_RDONLY)
    sent = at = blocked = 0
    got = b""
    try:
        while len(got) < len(data) + len(stored):
            try:
                if sent < len(data):
                    sent += ends.channel.send(data[sent:])
                elif at < len(stored):
                    at += ends.channel.send_file(fd, at, 1 << 20)
                else:
                    ends.channel.flush()
                    got += ends.peer.recv(1 << 20)
            except BlockingIOError:
                blocked += 1
                got += ends.peer.recv(1 << 20)
            assert ends.channel.unsent_bytes <= PIECE_BYTES
        assert ends.channel.send_file(fd, len(stored), 1) == 0
    finally:
        os.close(fd)
    assert got == data + stored
    assert blocked
    assert ends.channel.unsent_bytes == 0


def test_the_end_from_there(ends: Ends) -> None:
    ends.peer.close()
    assert readable(ends.channel._sock.fileno())
    assert ends.channel.receive_into(memoryview(bytearray(10))) == 0


def test_the_end_from_here_is_told(ends: Ends) -> None:
    """With TLS the peer can tell it from a cut: it reads an end and no error."""
    if isinstance(ends.peer, ssl.SSLSocket):
        ends.peer.suppress_ragged_eofs = False
    ends.channel.send(b"bye")
    ends.channel.close()
    assert ends.peer.recv(10) == b"bye"
    assert ends.peer.recv(10) == b""


def test_damage_is_told_in_words(tmp_path: Path) -> None:
    ends = Ends(tmp_path, tls=True)
    try:
        raw = socket.socket(fileno=os.dup(ends.peer.fileno()))
        with raw:
            raw.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        with pytest.raises(OSError, match="TLS: ") as caught:
            _received(ends, 1)
        assert not isinstance(caught.value, ssl.SSLError)
        assert caught.value.errno is None
    finally:
        ends.close()


def test_which_channel() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert isinstance(channel_of(one), PlainChannel)
