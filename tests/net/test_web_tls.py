"""The HTTP side by https: asked by the command line, with a reloaded certificate, and besieged."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from repltap.cli.status import status
from repltap.errors import StatusUnavailableError
from repltap.net import web_tls
from repltap.net.web import WebServer, create_app, start_web
from repltap.net.web_tls import HANDSHAKES_PER_SECOND, MAX_HALF_OPEN, TlsAcceptor
from repltap.tls import AuthClients, ServerTls
from tests.net.admin.fakes import relay_status
from tests.servers.certificates import Authority, Pair
from tests.stored import HANG_SECONDS, until
from tests.tls_files import authority, server


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return authority(tmp_path)


@pytest.fixture
def pair(ca: Authority) -> Pair:
    return ca.issue()


@pytest.fixture
def tls(pair: Pair) -> ServerTls:
    return server(pair, AuthClients.OPTIONAL)


@pytest.fixture
async def web(tls: ServerTls) -> AsyncIterator[WebServer]:
    made = await start_web(create_app(relay_status, CollectorRegistry()), "127.0.0.1", 0, tls)
    yield made
    await made.close()


async def ask(web: WebServer, *words: str, scheme: str = "") -> str:
    """Run `repltap status`."""
    where = ["--http", f"{scheme}127.0.0.1:{web.port}"]
    done = await asyncio.to_thread(
        lambda: CliRunner().invoke(status, [*where, *words], catch_exceptions=False)
    )
    assert done.exit_code == 0, done.output
    return done.output


async def test_the_command_line(web: WebServer, ca: Authority, pair: Pair, tmp_path: Path) -> None:
    own = ["--cert", str(pair.cert_file), "--key", str(pair.key_file)]
    trusted = ["--cacert", str(ca.ca_file)]
    for words in (trusted, [*trusted, *own], ["--insecure"]):
        assert "master" in await ask(web, *words)
    assert "master" in await ask(web, *trusted, scheme="https://")
    stranger = authority(tmp_path, "stranger").issue()
    for words, scheme, said in (
        (["--cacert", str(stranger.ca_file)], "", "not signed by a CA .*see --cacert"),
        ([], "https://", "not signed by a CA that --cacert or this system holds"),
        ([], "http://", "does it speak https"),
        (
            [*trusted, "--cert", str(stranger.cert_file), "--key", str(stranger.key_file)],
            "",
            "it closed the connection .see --cert and --key",
        ),
    ):
        with pytest.raises(StatusUnavailableError, match=said):
            await ask(web, *words, scheme=scheme)


async def test_a_new_certificate(web: WebServer, ca: Authority, tls: ServerTls, pair: Pair) -> None:
    ca.issue("other.example", into=pair)
    tls.read(tls.config)()
    with pytest.raises(StatusUnavailableError, match="is not for 127.0.0.1"):
        await ask(web, "--cacert", str(ca.ca_file))


async def test_who_says_nothing_keeps_nobody_out(
    web: WebServer, ca: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is half-way and too many, or too slow, goes; garbage is no error of ours."""
    where = ("127.0.0.1", web.port)
    silent = [socket.create_connection(where, HANG_SECONDS) for _ in range(MAX_HALF_OPEN + 3)]
    silent[0].sendall(b"GET / HTTP/1.0\r\n\r\n")
    try:
        assert "master" in await ask(web, "--cacert", str(ca.ca_file))
        gone = await asyncio.to_thread(lambda: [one.recv(100) for one in silent[1:3]])
        assert gone == [b"", b""]
        monkeypatch.setattr(web_tls, "HANDSHAKE_SECONDS", 0.05)
        with socket.create_connection(where, HANG_SECONDS) as late:
            assert await asyncio.to_thread(late.recv, 1) == b""
    finally:
        for one in silent:
            one.close()
    await until("the end of all", lambda: not web._listening._shaking)  # type: ignore[union-attr]


def test_a_flood_is_taken_at_a_pace(tls: ServerTls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found in a review: each signature holds the event loop, and there was no end of them."""
    acceptor = TlsAcceptor("127.0.0.1", 0, tls, asyncio.Protocol)
    rests: list[float] = []
    monkeypatch.setattr(acceptor._listener, "rest", rests.append)
    step = 1 / HANDSHAKES_PER_SECOND
    for _ in range(MAX_HALF_OPEN - 1):
        acceptor._keep_pace(100)
    assert rests == []
    acceptor._keep_pace(100)
    acceptor._keep_pace(100 + step)
    assert rests == pytest.approx([step, step])
    acceptor._keep_pace(100 + 4 * step)
    acceptor._keep_pace(1000)
    assert len(rests) == 2


async def test_closing_with_some_half_way(web: WebServer) -> None:
    with socket.create_connection(("127.0.0.1", web.port), HANG_SECONDS) as silent:
        await until("it", lambda: web._listening._shaking)  # type: ignore[union-attr]
        await web.close()
        assert await asyncio.to_thread(silent.recv, 1) == b""


async def test_old_versions_are_refused(web: WebServer, ca: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca.ca_file)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    sock = socket.create_connection(("127.0.0.1", web.port), HANG_SECONDS)
    with sock, pytest.raises(ssl.SSLError):
        await asyncio.to_thread(context.wrap_socket, sock, server_hostname="127.0.0.1")
