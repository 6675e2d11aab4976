"""The HTTP side: the status page, the JSON status, events, metrics, and two checks for monitors.

Read-only, and without secrets: a `RelayStatus` holds none. It must never make the relay do
anything but look at itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import cast

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from repltap.addresses import host_port
from repltap.errors import ListenError
from repltap.net.closing import close_server
from repltap.net.events import EventFeed
from repltap.net.page import load_page
from repltap.net.readiness import unready
from repltap.net.web_access import WebAccess
from repltap.net.web_tls import TlsAcceptor
from repltap.reasons import os_reason
from repltap.status.link import LinkState
from repltap.status.relay import RelayStatus
from repltap.tls import ServerTls
from repltap.values import DEFAULT_READINESS, Readiness

_SHUTDOWN_SECONDS = 1.0
"""How long a request may go on after the server stops listening: answers are made at once."""

_MAX_CONNECTIONS = 32
"""Many times what monitoring needs. They come out of the files that are reserved beside those of
the clients (`repltap.files`): without a limit they could leave none for the journal."""

_BACKLOG = 16
"""That many may be accepted in one go, before they are counted."""

Document = dict[str, object]


def status_document(status: RelayStatus) -> Document:
    """Give the status as JSON shows it.

    Returns:
        The attributes of `RelayStatus` under their own names, and what is derived from them:
        `uptime_seconds`; `upstream.link_up` and `.last_io_seconds_ago`; `journal.retained_bytes`
        and `.not_durable_bytes`; for each replica `last_ack_seconds_ago`. What is not known is
        null.
    """
    document = asdict(status, dict_factory=_plain)
    document["uptime_seconds"] = _since(status.now, status.started_at)
    upstream = cast(Document, document["upstream"])
    upstream["link_up"] = status.upstream.state is LinkState.CONNECTED
    upstream["last_io_seconds_ago"] = _since(status.now, status.upstream.last_io_at)
    if status.journal:
        journal = cast(Document, document["journal"])
        end = status.journal.end_offset
        journal["retained_bytes"] = end - status.journal.first_offset
        journal["not_durable_bytes"] = max(0, end - status.journal.durable_offset)
    for replica, shown in zip(
        status.replicas, cast(tuple[Document, ...], document["replicas"]), strict=True
    ):
        shown["last_ack_seconds_ago"] = _since(status.now, replica.last_ack_at)
    return document


def _plain(pairs: list[tuple[str, object]]) -> Document:
    return {name: value.value if isinstance(value, Enum) else value for name, value in pairs}


def _since(now: float, then: float | None) -> float | None:
    return None if then is None else round(max(0.0, now - then), 3)


def create_app(
    status: Callable[[], RelayStatus],
    registry: CollectorRegistry,
    ready: Readiness = DEFAULT_READINESS,
    access: WebAccess | None = None,
) -> web.Application:
    """Make the HTTP application.

    Args:
        status: Called for each request that shows the status, and twice a second for the events.
        registry: What `/metrics` shows.
        ready: What `/readyz` looks at.
        access: Who may see it; None: everybody.

    Returns:
        An application with `GET /`, the status page; `GET /healthz`, which answers 200 as long as
        the event loop runs; `GET /readyz`, which answers 503 with the reasons while the relay is
        not ready; `GET /api/status`, `GET /api/events` and `GET /metrics`.
    """
    feed = EventFeed(status)
    answers = _Answers(status, registry, ready, access)

    async def begin(_app: web.Application) -> None:
        feed.open()

    async def end(_app: web.Application) -> None:
        await feed.close()

    app = web.Application(middlewares=[access.middleware()] if access else [])
    app.on_response_prepare.append(_sign)
    app.on_startup.append(begin)
    app.on_shutdown.append(end)  # before connections are waited for: streams have no end
    app.router.add_get("/", load_page().serve)
    app.router.add_get("/healthz", answers.healthz)
    app.router.add_get("/readyz", answers.readyz)
    app.router.add_get("/api/status", answers.api_status)
    app.router.add_get("/api/events", feed.stream, allow_head=False)
    app.router.add_get("/metrics", answers.metrics)
    return app


@dataclass(frozen=True, slots=True)
class _Answers:
    """What is made anew for each request."""

    status: Callable[[], RelayStatus]
    registry: CollectorRegistry
    ready: Readiness
    access: WebAccess | None

    async def healthz(self, _request: web.Request) -> web.Response:
        return _json({"status": "ok"})

    async def readyz(self, request: web.Request) -> web.Response:
        seen = self.status()
        if self.access is not None and not self.access.is_open_to(request):
            # Everybody may ask this: errors name the master, its user, and files.
            seen = replace(seen, upstream=replace(seen.upstream, last_error=""))
        reasons = [asdict(reason) for reason in unready(seen, self.ready)]
        document = {"ready": not reasons, "conditions": str(self.ready), "reasons": reasons}
        return _json(document, 503 if reasons else 200)

    async def api_status(self, _request: web.Request) -> web.Response:
        return _json(status_document(self.status()))

    async def metrics(self, request: web.Request) -> web.Response:
        # OpenMetrics for who asks for it, as Prometheus does.
        encoder, content_type = _choose_encoder(request.headers.get("Accept", ""))
        headers = {"Cache-Control": "no-store", "Content-Type": content_type}
        return web.Response(body=encoder(self.registry), headers=headers)


async def _sign(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    # The versions of Python and aiohttp are nobody's business, least of all without a token.
    response.headers["Server"] = "repltap"


def _choose_encoder(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):
        return choose_encoder("")  # it stumbles over versions that are none


def _json(document: Document, status: int = 200) -> web.Response:
    # A status is out of date the moment it is sent.
    return web.Response(
        status=status,
        # A shell's prompt begins a line of its own after `curl`.
        body=orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


@dataclass(frozen=True, slots=True)
class WebServer:
    """An HTTP server that listens.

    Attributes:
        port: Where; what the system chose when 0 was asked for.
    """

    port: int
    _listening: asyncio.Server | TlsAcceptor
    _runner: web.AppRunner

    async def close(self) -> None:
        """Stop listening, and end what is being answered within a second."""
        if isinstance(self._listening, TlsAcceptor):
            self._listening.close()
        else:
            await close_server(self._listening)
        await self._runner.cleanup()


async def start_web(
    app: web.Application, host: str, port: int, tls: ServerTls | None = None
) -> WebServer:
    """Serve an application, on `_MAX_CONNECTIONS` connections at most: the oldest go.

    Args:
        app: From `create_app`.
        host: The address to listen on.
        port: 0 to 65535; 0 lets the system choose.
        tls: The certificate, for https; None for http.

    Returns:
        The server, listening. Close it.

    Raises:
        ListenError: The address can't be listened on.
    """
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_logger(),
        shutdown_timeout=_SHUTDOWN_SECONDS,
        handler_cancellation=True,  # who leaves `/api/events` makes room at once
    )
    await runner.setup()
    assert runner.server is not None
    accept = _accepting(runner.server)
    try:
        if tls is not None:
            secured = TlsAcceptor(host, port, tls, accept)
            await secured.start()
            return WebServer(secured.port, secured, runner)
        listening = await asyncio.get_running_loop().create_server(
            accept, host, port, backlog=_BACKLOG
        )
    except OSError as exc:
        await runner.cleanup()
        raise ListenError(
            f"can't listen on {host_port(host, port)} for HTTP: {os_reason(exc)}",
            hint="choose another address with --http",
        ) from exc
    except BaseException:
        await runner.cleanup()
        raise
    return WebServer(listening.sockets[0].getsockname()[1], listening, runner)


def _accepting(server: web.Server) -> Callable[[], web.RequestHandler]:
    """Make what asyncio calls for each connection; it makes room for it."""

    def accept() -> web.RequestHandler:
        # Not the newest: who keeps connections open and asks nothing must not shut others out.
        open_now = [c.transport for c in server.connections if c.transport is not None]
        for transport in open_now[: max(0, len(open_now) - _MAX_CONNECTIONS + 1)]:
            transport.abort()
        return server()

    return accept


def _logger() -> logging.Logger:
    """Give the log of the HTTP server: a request that is no HTTP is no error of ours."""
    logger = logging.getLogger("repltap.http")
    if not logger.filters:
        logger.addFilter(_is_ours)
    return logger


def _is_ours(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))
