"""`repltap status` against a real HTTP server."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click
import orjson
import pytest
from click.testing import CliRunner, Result

from repltap.cli.status import status, status_url
from repltap.errors import StatusUnavailableError
from repltap.net.web import status_document
from tests.net.admin.fakes import relay_status
from tests.servers.ports import silent_port


class Relay:
    """An HTTP server that answers every path below /api/status with one body."""

    def __init__(self) -> None:
        self.body = orjson.dumps(status_document(relay_status()))
        self.code = 200
        self.asked_with = ""
        relay = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                relay.asked_with = self.headers.get("Authorization", "")
                self.send_response(relay.code if self.path == "/api/status" else 404)
                self.end_headers()
                self.wfile.write(relay.body)

            def log_message(self, *_args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"


@pytest.fixture
def relay() -> Iterator[Relay]:
    relay = Relay()
    thread = threading.Thread(target=relay.server.serve_forever, args=(0.01,))
    thread.start()
    yield relay
    relay.server.shutdown()
    thread.join()
    relay.server.server_close()


def run(*args: str, **environ: str) -> str:
    result = CliRunner().invoke(status, args, env=environ, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_text_where_there_is_no_terminal(relay: Relay) -> None:
    shown = run("--http", relay.address)
    assert shown.startswith("repltap 0.1.0\n  listening  127.0.0.1:6390\n")
    assert "link          up for 10m 0s\n" in shown


def test_tables_on_a_terminal(relay: Relay) -> None:
    shown = run("--http", relay.address, FORCE_COLOR="1", COLUMNS="80")
    assert "\x1b[" in shown
    assert "╭" in shown


def test_json(relay: Relay) -> None:
    shown = json.loads(run("--http", f"http://{relay.address}/", "--json"))
    assert shown == status_document(relay_status()) | {
        "replicas": list(shown["replicas"]),
        "journal": shown["journal"],
        "recent_disconnects": [],
        "sinks": [],
        "hand_sinks": [],
        "reloads": [],
        "certificates": [],
    }


def test_the_environment_names_the_relay_and_no_proxy(relay: Relay) -> None:
    proxy = "http://127.0.0.1:1"
    shown = run(REPLTAP_HTTP=relay.address, http_proxy=proxy, HTTP_PROXY=proxy)
    assert shown.startswith("repltap 0.1.0\n")


def test_nobody_there() -> None:
    refused = pytest.raises(StatusUnavailableError, match="Connection refused")
    with silent_port() as port, refused as caught:
        run("--http", f"127.0.0.1:{port}")
    assert caught.value.exit_code == 6
    assert "repltap run" in caught.value.hint


def test_a_server_that_hangs_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            peer, _ = server.accept()
            peer.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(StatusUnavailableError, match="cannot reach"):
            run("--http", f"127.0.0.1:{server.getsockname()[1]}")
        thread.join()


@pytest.mark.parametrize("drips", ["header", "body"])
def test_a_server_that_answers_byte_by_byte(drips: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte came in time, and so it waited without end."""
    monkeypatch.setattr("repltap.cli.status._TOTAL_SECONDS", 0.3)
    first = b"HTTP/1.1 200 OK\r\n" + (b"\r\n" if drips == "body" else b"")
    told = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            peer, _ = server.accept()
            with peer, suppress(ConnectionError):
                peer.recv(65536)
                peer.sendall(first)
                for _ in range(200):  # bounded: a failure of this test is no hang
                    peer.sendall(b"x")
                    if told.wait(0.05):
                        break

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(StatusUnavailableError, match=r"took longer than 0\.3 s"):
            run("--http", f"127.0.0.1:{server.getsockname()[1]}")
        told.set()
        thread.join()


def test_a_redirection_to_nowhere() -> None:
    """Found by answering so: it ended in a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def redirect() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 302 x\r\nLocation: http://[x/\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=redirect)
        thread.start()
        with pytest.raises(StatusUnavailableError, match="cannot reach"):
            run("--http", f"127.0.0.1:{server.getsockname()[1]}")
        thread.join()


def test_a_server_that_is_no_relay(relay: Relay) -> None:
    relay.code = 403
    with pytest.raises(StatusUnavailableError, match="answered 403 Forbidden"):
        run("--http", relay.address)


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"[]", b'{"version": 1}'])
def test_an_answer_that_is_no_status(relay: Relay, body: bytes) -> None:
    relay.body = body
    with pytest.raises(StatusUnavailableError, match="did not answer with a repltap status"):
        run("--http", relay.address)


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("127.0.0.1:8380", "http://127.0.0.1:8380/api/status"),
        ("[::1]:8380", "http://[::1]:8380/api/status"),
        ("relay", "http://relay/api/status"),
        ("http://relay:1/", "http://relay:1/api/status"),
        ("https://relay/prefix", "https://relay/prefix/api/status"),
        ("http://relay/api/status", "http://relay/api/status"),
    ],
)
def test_urls(address: str, url: str) -> None:
    assert status_url(address) == url


@pytest.mark.parametrize(
    "address", ["", ":8380", "ftp://relay", "file:///etc/passwd", "relay:x", "relay:99999", "a:0"]
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(click.BadParameter):
        status_url(address)


def test_a_token_goes_with_the_question(
    relay: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*more: str) -> Result:
        return CliRunner().invoke(status, ["--http", relay.address, *more])

    assert ask().exit_code == 0
    assert relay.asked_with == ""
    monkeypatch.setenv("REPLTAP_HTTP_TOKEN", "by variable")
    ask()
    assert relay.asked_with == "Bearer by variable"
    file = tmp_path / "token"
    file.write_text("of the file\nthe old one\n")
    ask("--token-file", str(file))
    assert relay.asked_with == "Bearer of the file"

    monkeypatch.setenv("REPLTAP_HTTP_TOKEN", "by\nvariable")
    failed = ask()  # http.client's own refusal shows it
    assert "REPLTAP_HTTP_TOKEN: a token begins" in str(failed.exception)
    assert "variable" not in str(failed.exception)
    monkeypatch.setenv("REPLTAP_HTTP_TOKEN", "by variable")

    relay.code = 401
    failed = ask()
    assert isinstance(failed.exception, StatusUnavailableError)
    assert "REPLTAP_HTTP_TOKEN or --token-file" in str(failed.exception)
    assert "by variable" not in str(failed.exception)
