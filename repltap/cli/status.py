"""`repltap status`: ask a running relay how it is, once."""

from __future__ import annotations

import socket
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection, RemoteDisconnected
from pathlib import Path
from typing import Any

import click
import orjson

from repltap.cli.options import (
    http_option,
    http_token,
    https_context,
    https_flags,
    token_file_option,
)
from repltap.cli.output import show
from repltap.cli.status_document import decode_status
from repltap.cli.status_view import sections
from repltap.errors import StatusUnavailableError
from repltap.reasons import os_reason
from repltap.tls_faults import tls_fault

_TIMEOUT_SECONDS = 5.0
"""Of silence."""

_TOTAL_SECONDS = 15.0
"""Of the whole answer: one that comes byte by byte would never end otherwise."""

_MAX_STATUS_BYTES = 16 << 20
"""Some hundred bytes for each replica: this is room for tens of thousands of them."""

_TOKEN_HINT = "give the relay's token by REPLTAP_HTTP_TOKEN or --token-file"
_TLS_HINT = "see --cert and --key; --http http://... if it does not speak https"
_TLS_HINTS: dict[type[OSError], str] = {
    ssl.SSLCertVerificationError: "see --cacert; --insecure asks whoever answers",
}
_START_HINT = "is `repltap run` running with --http at this address?"


@click.command()
@http_option
@token_file_option
@https_flags
@click.option("--json", "as_json", is_flag=True, help="Print the status as JSON.")
def status(
    address: str,
    token_file: Path | None,
    cacert: Path | None,
    cert: Path | None,
    key: Path | None,
    insecure: bool,
    as_json: bool,
) -> None:
    """Show how a running relay is, and all around it.

    \b
    repltap status --http 127.0.0.1:8380
    repltap status --http https://relay.example:8380 --cacert ca.crt
    repltap status --json | jq .upstream.state
    """
    context = https_context(cacert, cert, key, insecure=insecure)
    url = status_url(address, secure=context is not None)
    body = fetch(url, http_token(token_file), context)
    try:
        if as_json:
            click.echo(orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2))
            return
        found = sections(decode_status(body))
    except ValueError as exc:
        raise StatusUnavailableError(
            f"{url} did not answer with a repltap status: {exc}",
            hint="is it another program, or another version of repltap?",
        ) from exc
    show(found)


def status_url(address: str, *, secure: bool = False) -> str:
    """Make the URL to ask.

    Args:
        address: `HOST:PORT`, or an http or https URL with or without a path.
        secure: `HOST:PORT` means https.

    Returns:
        The address of `/api/status` there.

    Raises:
        click.BadParameter: It is neither.
    """
    url = address if "://" in address else f"{'https' if secure else 'http'}://{address}"
    wrong = click.BadParameter(f"{address!r} is neither HOST:PORT nor a URL", param_hint="--http")
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError as exc:
        raise wrong from exc
    if not usable:
        raise wrong
    path = parts.path.rstrip("/")
    if not path.endswith("/api/status"):
        path += "/api/status"
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def fetch(url: str, token: str = "", context: ssl.SSLContext | None = None) -> bytes:
    """Get a relay's status.

    Args:
        url: From `status_url`.
        token: The relay's, "" where it asks for none.
        context: For https, None for what the system trusts.

    Returns:
        The body of the answer.

    Raises:
        StatusUnavailableError: Nobody answers there in time, or not with a status.
    """
    # No proxies: the relay is on this machine or its network, and a proxy in the environment
    # would be asked for 127.0.0.1.
    limit = _TimeLimit(_TOTAL_SECONDS)
    handlers = [urllib.request.ProxyHandler({}), _Http(limit), _Https(limit, context)]
    opener = urllib.request.build_opener(*handlers)
    asked = urllib.request.Request(url)
    if token:
        # Not passed on when the answer is a redirection to somewhere else.
        asked.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with limit, opener.open(asked, timeout=_TIMEOUT_SECONDS) as answer:
            body: bytes = answer.read(_MAX_STATUS_BYTES + 1)
    except urllib.error.HTTPError as exc:
        exc.close()
        hint = _TOKEN_HINT if exc.code == 401 else "is it a repltap?"
        raise StatusUnavailableError(f"{url} answered {exc.code} {exc.reason}", hint=hint) from exc
    except (OSError, HTTPException, ValueError) as exc:  # the last of a redirection
        if limit.passed:
            raise _too_slow(url) from exc
        reason, hint = _reason(exc, url)
        raise StatusUnavailableError(f"cannot reach {url}: {reason}", hint=hint) from exc
    if limit.passed:
        raise _too_slow(url)  # a body without a length only looks complete
    if len(body) > _MAX_STATUS_BYTES:
        raise StatusUnavailableError(f"{url} answered with too much", hint="is it a repltap?")
    return body


class _TimeLimit:
    """Ends the connections of one question when its time is up; urllib bounds each read only."""

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._sockets: list[socket.socket] = []  # urllib follows 10 redirections at most
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_raised: object) -> None:
        self._timer.cancel()

    def add(self, connected: socket.socket) -> None:
        """End this one too; urllib lets go of the connection itself before the body is read."""
        self._sockets.append(connected)
        if self.passed:  # `_end` may have missed it
            raise TimeoutError("timed out")

    def _end(self) -> None:
        self.passed = True
        for each in list(self._sockets):
            with suppress(OSError):  # it has ended by itself
                # Not SSLSocket's own: that takes TLS away beneath a read.
                socket.socket.shutdown(each, socket.SHUT_RDWR)


class _Http(urllib.request.HTTPHandler):
    def __init__(self, limit: _TimeLimit) -> None:
        super().__init__()
        self._limit = limit

    def http_open(self, req: urllib.request.Request) -> Any:
        limit = self._limit

        class Limited(HTTPConnection):
            def connect(self) -> None:
                super().connect()
                limit.add(self.sock)

        return self.do_open(Limited, req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, limit: _TimeLimit, context: ssl.SSLContext | None) -> None:
        super().__init__(context=context)
        self._limit = limit
        self._tls = context

    def https_open(self, req: urllib.request.Request) -> Any:
        limit = self._limit

        class Limited(HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                limit.add(self.sock)

        return self.do_open(Limited, req, context=self._tls)


def _too_slow(url: str) -> StatusUnavailableError:
    return StatusUnavailableError(
        f"{url} took longer than {_TOTAL_SECONDS:g} s to answer",
        hint="is it a repltap, and the network fast enough for its status?",
    )


def _reason(failure: OSError | HTTPException | ValueError, url: str) -> tuple[str, str]:
    # urllib wraps what the socket said, or gives a text of its own.
    cause = failure.reason if isinstance(failure, urllib.error.URLError) else failure
    if isinstance(cause, ssl.SSLError):
        name = urllib.parse.urlsplit(url).hostname or ""
        fault = tls_fault(cause, "the relay", name=name, trusted="--cacert or this system")
        return fault.message, _TLS_HINTS.get(type(cause), _TLS_HINT)
    if isinstance(cause, RemoteDisconnected | ConnectionResetError):
        hint = "does it speak https? Then see --cacert" if url.startswith("http:") else _TLS_HINT
        return "it closed the connection", hint
    return (os_reason(cause) if isinstance(cause, OSError) else str(cause)), _START_HINT
