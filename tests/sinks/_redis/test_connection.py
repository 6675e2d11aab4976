"""The connection to a target."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import hiredis
import pytest

from repltap.sink import SinkError, SinkErrorKind
from sinks._redis.connection import Connection, pack
from sinks._redis.url import Address
from tests.servers.ports import free_port
from tests.servers.server import Server
from tests.servers.waiting import PATIENCE_SECONDS


def connection(port: int, seconds: float = PATIENCE_SECONDS, stopping: bool = False) -> Connection:
    return Connection(
        Address("127.0.0.1", port),
        connect_seconds=PATIENCE_SECONDS,
        reply_seconds=seconds,
        stopping=lambda: stopping,
    )


@contextmanager
def peer(speak: Callable[[socket.socket], None]) -> Iterator[int]:
    """Listen, and do with a connection what no server does on demand."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            link, _ = listener.accept()
            with link, suppress(OSError):
                speak(link)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(PATIENCE_SECONDS)


def until_closed(link: socket.socket) -> None:
    while link.recv(1 << 16):
        pass


def says(*pieces: bytes) -> Callable[[socket.socket], None]:
    def speak(link: socket.socket) -> None:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            link.sendall(piece)
        until_closed(link)

    return speak


def test_calls_and_errors(server: Server) -> None:
    one = connection(server.port)
    assert one.replies(5, wait=False) == []
    assert one.call(b"SET", b"k", b"v") == b"OK"
    assert one.call(b"GET", b"k") == b"v"
    assert isinstance(one.call(b"NOSUCH"), hiredis.ReplyError)
    one.send(pack((b"MULTI",)) + pack((b"GET", b"k")) + pack((b"GET", b"n")) + pack((b"EXEC",)))
    assert [one.reply() for _ in range(3)] == [b"OK", b"QUEUED", b"QUEUED"]
    assert one.reply() == [b"v", None]
    one.send(pack((b"MULTI",)) + pack((b"GET", b"k")))
    assert [one.reply() for _ in range(2)] == [b"OK", b"QUEUED"]
    one.send(pack((b"EXEC",)))
    assert one.array_head() == 1
    assert one.reply() == b"v"
    assert not one.is_gone()
    one.close()
    one.close()


@pytest.mark.parametrize("cut", [1, 2, 4, 7, 1000])
def test_the_head_of_an_array_in_pieces(cut: int) -> None:
    data = b"*2\r\n$4\r\n\r\n-x\r\n-ERR no\r\n"
    with peer(says(*(data[at : at + cut] for at in range(0, len(data), cut)))) as port:
        one = connection(port)
        assert one.array_head() == 2
        assert one.reply() == b"\r\n-x"
        assert str(one.reply()) == "ERR no"
        one.close()


@pytest.mark.parametrize(
    ("data", "wanted"), [(b"*-1\r\n", None), (b"*0\r\n", 0), (b"-EXECABORT x\r\n", "EXECABORT x")]
)
def test_other_replies_to_exec(data: bytes, wanted: object) -> None:
    with peer(says(data)) as port:
        one = connection(port)
        found = one.array_head()
        assert (str(found) if isinstance(found, hiredis.ReplyError) else found) == wanted
        one.close()


def test_replies_are_read_while_more_is_sent_than_fits(server: Server) -> None:
    def echo(link: socket.socket) -> None:
        # Takes nothing in while it cannot get rid of what it has, as a proxy does.
        while data := link.recv(1 << 16):
            link.sendall(data)

    with peer(echo) as port:
        one = connection(port)
        data = b"+QUEUED\r\n" * 500_000
        one.send(data)
        assert all(one.reply() == b"QUEUED" for _ in range(500_000))
        one.close()


@pytest.mark.parametrize(
    ("said", "seconds", "wanted"),
    [
        # What is said is waited for: on a busy machine it may come late.
        ((b"HTTP/1.1 400 Bad Request\r\n",), PATIENCE_SECONDS, "does not speak Redis's protocol"),
        ((), 0.2, "nothing has moved for 0.2 s"),
    ],
)
def test_a_peer_that_is_none(said: tuple[bytes, ...], seconds: float, wanted: str) -> None:
    with peer(says(*said)) as port:
        one = connection(port, seconds)
        with pytest.raises(SinkError, match=wanted) as caught:
            one.reply()
        assert caught.value.kind is SinkErrorKind.AWAY
        one.close()


def test_a_head_without_an_end_is_not_kept() -> None:
    with peer(says(b"*" + b"1" * 200_000)) as port:
        one = connection(port)
        with pytest.raises(SinkError, match="has no end"):
            one.array_head()
        one.close()


def test_a_closed_connection_is_noticed() -> None:
    with peer(lambda link: None) as port:
        one = connection(port)
        with pytest.raises(SinkError, match="closed the connection"):
            one.reply()
        assert one.is_gone()
        one.close()


def test_nobody_listens() -> None:
    with pytest.raises(SinkError, match="can't be reached: Connection refused") as caught:
        connection(free_port())
    assert caught.value.kind is SinkErrorKind.AWAY


def test_a_stop_shortens_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinks._redis.connection._STOP_SECONDS", 0.1)
    with peer(until_closed) as port:
        one = connection(port, 3600, stopping=True)
        with pytest.raises(SinkError, match=r"nothing has moved for 0\.1 s"):
            one.reply()
        one.close()


def test_a_target_that_hangs_is_away(server: Server) -> None:
    one = connection(server.port, 0.2)
    server.freeze()
    try:
        with pytest.raises(SinkError, match=r"nothing has moved for 0\.2 s"):
            one.call(b"PING")
    finally:
        server.thaw()
        one.close()
