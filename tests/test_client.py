"""The RESP connection for single questions, against a peer that answers a script."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from repltap.client import Connection
from repltap.errors import ReplTapError


@contextmanager
def peer(answer: bytes) -> Iterator[Connection]:
    """A connection to someone who reads once, answers byte by byte, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            accepted, _ = server.accept()
            with accepted:
                accepted.recv(65536)
                with suppress(ConnectionError):  # the other end may have had enough
                    for position in range(len(answer)):
                        accepted.sendall(answer[position : position + 1])

        thread = threading.Thread(target=serve)
        thread.start()
        connection = Connection("127.0.0.1", server.getsockname()[1])
        try:
            yield connection
        finally:
            connection.close()
            connection.close()
            thread.join()


def test_a_pipeline_has_one_reply_each() -> None:
    with peer(b"+OK\r\n-ERR no\r\n:3\r\n$-1\r\n") as connection:
        ok, error, number, nothing = connection.pipeline([("SET", b"k", 1)] * 4)
    assert (ok, number, nothing) == (b"OK", 3, None)
    assert isinstance(error, Exception)
    assert "ERR no" in str(error)


def test_info() -> None:
    body = b"# Replication\r\nrole:master\r\nslave0:ip=1,port=2\r\n"
    with peer(b"$%d\r\n%s\r\n" % (len(body), body)) as connection:
        assert connection.info("replication") == {"role": "master", "slave0": "ip=1,port=2"}


def test_an_error_reply_to_a_call() -> None:
    refusal = b"-ERR DEBUG command not allowed\r\n"
    expected = pytest.raises(ReplTapError, match="DEBUG: unexpected reply")
    with peer(refusal) as connection, expected:
        connection.call("DEBUG", "DIGEST")


@pytest.mark.parametrize("answer", [b"", b"$10\r\nabc", b"HTTP/1.1 400\r\n", b"*4294967294\r\n"])
def test_a_peer_that_fails(answer: bytes) -> None:
    with peer(answer) as connection, pytest.raises(OSError, match="closed|not RESP|reset|too many"):
        connection.call("PING")


def test_a_reply_that_comes_byte_by_byte_for_ever() -> None:
    """Each byte alone is in time."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            accepted, _ = server.accept()
            with accepted, suppress(OSError):
                accepted.sendall(b"$1000\r\n")
                while not ended.wait(0.01):
                    accepted.sendall(b"x")

        thread = threading.Thread(target=serve)
        thread.start()
        connection = Connection("127.0.0.1", server.getsockname()[1], timeout_seconds=0.2)
        try:
            with pytest.raises(TimeoutError):
                connection.call("PING")
        finally:
            ended.set()
            connection.close()
            thread.join()


def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        connection = Connection(path, 0)
        peer, _ = server.accept()
        peer.sendall(b"+PONG\r\n")
        assert connection.call("PING") == b"PONG"
        connection.close()
        peer.close()
    with pytest.raises(ConnectionRefusedError):
        Connection(path, 0)
