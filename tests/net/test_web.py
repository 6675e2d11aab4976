"""The HTTP side through aiohttp's own client."""

import asyncio
import json
import os
import socket
from contextlib import suppress

import aiohttp
import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer
from jsonschema import Draft202012Validator
from prometheus_client import CollectorRegistry, Gauge

from repltap.errors import ListenError
from repltap.net.web import create_app, start_web, status_document
from repltap.status.link import LinkState
from repltap.status.relay import RelayStatus
from repltap.values import Readiness
from tests.net import schema
from tests.net.admin.fakes import REPLID, relay_status, upstream


async def test_health_needs_no_status() -> None:
    def broken() -> None:
        raise AssertionError("asked for the status")

    async with TestClient(TestServer(create_app(broken, CollectorRegistry()))) as client:  # type: ignore[arg-type]
        answer = await client.get("/healthz")
        assert answer.status == 200
        assert await answer.json() == {"status": "ok"}


async def test_status_is_made_for_each_request() -> None:
    shown = [relay_status()]
    async with TestClient(TestServer(create_app(lambda: shown[0], CollectorRegistry()))) as client:
        answer = await client.get("/api/status")
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.content_type == "application/json"
        first = await answer.json()
        shown[0] = relay_status(upstream=upstream(state=LinkState.SYNC))
        second = await (await client.get("/api/status")).json()
    assert first["upstream"]["link_up"] is True
    assert first["journal"]["replid"] == REPLID
    assert first["replicas"][0]["state"] == "online"
    assert second["upstream"]["link_up"] is False
    assert second["upstream"]["state"] == "sync"


@pytest.mark.parametrize(
    ("accept", "content_type", "last"),
    [
        ("", "text/plain", b"height_bytes 5.0\n"),
        ("*/*", "text/plain", b"height_bytes 5.0\n"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text", b"# EOF\n"),
    ],
)
async def test_metrics_are_shown_as_asked_for(accept: str, content_type: str, last: bytes) -> None:
    registry = CollectorRegistry()
    Gauge("height_bytes", "How high.", registry=registry).set(5)
    async with TestClient(TestServer(create_app(relay_status, registry))) as client:
        answer = await client.get("/metrics", headers={"Accept": accept})
        assert answer.status == 200
        assert answer.content_type == content_type
        assert answer.headers["Cache-Control"] == "no-store"
        body = await answer.read()
    assert body.endswith(last)
    assert b"height_bytes 5.0\n" in body


async def test_nothing_else_is_there() -> None:
    async with TestClient(TestServer(create_app(relay_status, CollectorRegistry()))) as client:
        assert (await client.get("/else")).status == 404
        assert (await client.post("/api/status")).status == 405


async def test_ready_as_configured() -> None:
    shown = [relay_status()]
    wanted = Readiness(snapshot=True, link=True)
    app = create_app(lambda: shown[0], CollectorRegistry(), wanted)
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/readyz")
        assert answer.headers["Server"] == "repltap"  # and no versions
        assert (await answer.text()).endswith("}\n")
        assert answer.status == 200
        assert await answer.json() == {
            "ready": True,
            "conditions": "snapshot,link",
            "reasons": [],
        }
        shown[0] = relay_status(journal=None)
        answer = await client.get("/readyz")
        assert answer.status == 503
        assert await answer.json() == {
            "ready": False,
            "conditions": "snapshot,link",
            "reasons": [{"condition": "snapshot", "text": "no snapshot is stored"}],
        }


@pytest.mark.parametrize("file", schema.FILES)
def test_the_documented_schema_is_the_true_one(file: str) -> None:
    shown = (schema.DOCS / file).read_text(encoding="utf-8")
    assert shown == schema.text_of(file), "run python -m tests.net.schema, and see docs/api.md"


def test_a_status_is_as_documented() -> None:
    document = json.loads(orjson.dumps(status_document(relay_status())))
    strict = Draft202012Validator(schema.closed(schema.schema_of(RelayStatus, "status")))
    strict.validate(document)
    document["replicas"][0]["state"] = "asleep"
    document["more"] = 1
    assert len(list(strict.iter_errors(document))) == 2


def test_what_is_derived() -> None:
    document = status_document(relay_status())
    assert document["uptime_seconds"] == 90_000
    assert document["upstream"]["last_io_seconds_ago"] == 2  # type: ignore[index]
    assert document["journal"]["retained_bytes"] == 5000  # type: ignore[index]
    assert document["journal"]["not_durable_bytes"] == 50  # type: ignore[index]
    assert document["replicas"][0]["last_ack_seconds_ago"] == 1  # type: ignore[index]


def test_what_is_not_known_is_null() -> None:
    link = upstream(state=LinkState.CONNECT, last_io_at=None, acked_offset=None)
    document = status_document(relay_status(upstream=link, journal=None, replicas=()))
    assert document["journal"] is None
    assert document["upstream"]["last_io_seconds_ago"] is None  # type: ignore[index]
    assert document["upstream"]["acked_offset"] is None  # type: ignore[index]


async def test_listen_answer_and_close() -> None:
    server = await start_web(create_app(relay_status, CollectorRegistry()), "127.0.0.1", 0)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{server.port}/healthz") as answer,
    ):
        assert answer.status == 200
    await server.close()
    with socket.create_server(("127.0.0.1", server.port)):
        pass


async def test_connections_that_ask_nothing_shut_nobody_out() -> None:
    """Found by attack: 2200 of them took every file descriptor, and that ended the relay."""
    server = await start_web(create_app(relay_status, CollectorRegistry()), "127.0.0.1", 0)
    files = len(os.listdir("/proc/self/fd"))
    idle = []
    for _ in range(200):
        idle.append(await asyncio.open_connection("127.0.0.1", server.port))
        idle[-1][1].write(b"GET /metrics HTTP/1.1\r\nX-Never-Ends: ")
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{server.port}/healthz") as answer,
    ):
        assert answer.status == 200
    for reader, _ in idle[:150]:
        with suppress(ConnectionError):
            assert await reader.read() == b""  # the oldest have been closed
    assert len(os.listdir("/proc/self/fd")) - files < 200 + 64
    for _, writer in idle:
        writer.close()
    await server.close()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\x00\xff\xfe\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", b"400"),
        (
            b"GET /metrics HTTP/1.0\r\nAccept: application/openmetrics-text;version=a\r\n\r\n",
            b"200",
        ),
    ],
)
async def test_a_senseless_request_is_no_error_of_ours(
    request_: bytes, status: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Found by attack: each filled the log with a traceback, the last was answered with 500."""
    server = await start_web(create_app(relay_status, CollectorRegistry()), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request_)
    assert (await reader.readline()).split()[1] == status
    writer.close()
    await server.close()
    assert "Traceback" not in caplog.text


async def test_a_busy_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(ListenError) as caught:
            await start_web(create_app(relay_status, CollectorRegistry()), "127.0.0.1", port)
    assert caught.value.message == (
        f"can't listen on 127.0.0.1:{port} for HTTP: Address already in use"
    )
