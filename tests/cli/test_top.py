"""`repltap top` on a terminal that is a pseudo-terminal."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson
import pytest

from repltap.cli.main import main
from repltap.net.web import status_document
from tests.net.admin.fakes import relay_status
from tests.servers.waiting import PATIENCE_SECONDS, wait_for

ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
SHOW_CURSOR = b"\x1b[?25h"


@pytest.fixture
def address() -> Iterator[str]:
    """A relay's HTTP side that says the same each time."""
    body = orjson.dumps(status_document(relay_status()))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class Terminal:
    """A pseudo-terminal with a program on it."""

    def __init__(self, *words: str) -> None:
        self.fd, other = pty.openpty()
        self.resize(80, 24)
        self.before = termios.tcgetattr(other)
        self.other = other
        self.said = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "repltap", *words],
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "", "LINES": ""},
        )
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with suppress(OSError):  # the other side is closed
            while data := os.read(self.fd, 65536):
                self.said += data

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def wait(self, text: bytes, start: int = 0) -> None:
        wait_for(f"{text!r} on the terminal", lambda: text in self.said[start:])

    def press(self, key: bytes) -> None:
        os.write(self.fd, key)

    def is_restored(self) -> bool:
        return bool(termios.tcgetattr(self.other) == self.before)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.other)
        self._thread.join()
        os.close(self.fd)


@contextmanager
def top(address: str) -> Iterator[Terminal]:
    terminal = Terminal("top", "--http", address, "--interval", "0.1")
    try:
        terminal.wait(b"quit")
        yield terminal
    finally:
        terminal.close()


@pytest.mark.parametrize(
    ("how", "code"),
    [
        (b"q", 0),
        (b"\x04", 0),
        (signal.SIGTERM, 128 + signal.SIGTERM),
        (signal.SIGHUP, 128 + signal.SIGHUP),
        (signal.SIGINT, 130),
    ],
)
def test_the_terminal_is_put_back_however_it_ends(
    address: str, how: bytes | signal.Signals, code: int
) -> None:
    with top(address) as terminal:
        assert ENTER in terminal.said
        assert not terminal.is_restored()
        if isinstance(how, bytes):
            terminal.press(how)
        else:
            terminal.process.send_signal(how)
        assert terminal.process.wait(PATIENCE_SECONDS) == code
        terminal.wait(LEAVE)
        assert terminal.is_restored()
        assert SHOW_CURSOR in terminal.said
        assert b"Traceback" not in terminal.said


def test_keys_and_sizes(address: str) -> None:
    with top(address) as terminal:
        terminal.wait(b"127.0.0.1:21002")
        for key in (b"n", b"r", b"l"):
            start = len(terminal.said)
            terminal.press(key)
            terminal.wait(b"quit", start)
        terminal.wait(b"offset")
        terminal.resize(50, 12)
        # No room for the offsets: whole screens come without them.
        wait_for("a narrow screen", lambda: b"offset" not in terminal.said[-600:])


def test_a_relay_that_goes_away_is_said() -> None:
    class Away(BaseHTTPRequestHandler):
        left = 3

        def do_GET(self) -> None:
            Away.left -= 1
            self.send_response(200 if Away.left > 0 else 503)
            self.end_headers()
            if Away.left > 0:
                self.wfile.write(orjson.dumps(status_document(relay_status())))

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Away)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        with top(f"127.0.0.1:{server.server_port}") as terminal:
            terminal.wait(b"answered 503")
            terminal.press(b"q")
            assert terminal.process.wait(PATIENCE_SECONDS) == 0
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_nobody_there() -> None:
    terminal = Terminal("top", "--http", "127.0.0.1:1")
    try:
        assert terminal.process.wait(PATIENCE_SECONDS) == 6
        terminal.wait(b"cannot reach")
        assert ENTER not in terminal.said
        assert terminal.is_restored()
    finally:
        terminal.close()


def test_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top"]) == 2
    assert "top needs a terminal" in capsys.readouterr().err
