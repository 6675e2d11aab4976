"""Who may see the HTTP side: a bearer token, in constant time, at a pace that makes guessing idle.

The token comes as `Authorization: Bearer TOKEN` (Prometheus, curl, `repltap status`), or as the
password of HTTP Basic with any user's name: that is what a browser asks for by itself and sends
with everything the page wants, its event stream included, which can't be given a header.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import logging
from hashlib import sha256

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from repltap.config import HttpConfig
from repltap.net.login_watch import LoginWatch
from repltap.net.web_host import is_exposed, is_ours
from repltap.values import is_loopback

log = logging.getLogger("repltap.access")

FREE_PATHS = frozenset({"/healthz", "/readyz"})
"""Probes of service managers and load balancers carry no secrets, and learn none here."""

_CHALLENGES = ('Basic realm="repltap", charset="UTF-8"', 'Bearer realm="repltap"')
_MAX_CREDENTIALS = 4096  # characters; aiohttp takes 8190 for a header line
_RETRY_SECONDS = 10
_STRANGE_NAME = (
    "this is not a name of this machine: use http://127.0.0.1 or http://localhost, let a proxy "
    "send that as the Host, or set http.token_file"
)


class WebAccess:
    """Lets requests through that bring the token, or where none is needed come by a name of ours.

    Args:
        digests: SHA-256 of the tokens, any of which will do; none: nobody needs one.
        logins: Who has to wait after wrong ones.
        exposed: Names are looked at while there is no token (`web_host.is_exposed`).

    Attributes:
        digests: As given; may be replaced at any time. Streams that have begun go on.
    """

    def __init__(
        self, digests: tuple[bytes, ...], logins: LoginWatch, *, exposed: bool = False
    ) -> None:
        self.digests = digests
        self._logins = logins
        self._exposed = exposed

    @classmethod
    def of(cls, config: HttpConfig, logins: LoginWatch) -> WebAccess:
        """Make it as configured, and say at the start what may be a surprise."""
        exposed = is_exposed(config.host, tls=config.tls is not None)
        made = cls(config.tokens, logins, exposed=exposed)
        made.warn(config.host)
        return made

    def warn(self, host: str) -> None:
        """Say at the start who can see the status, where that may be a surprise."""
        if not self.digests and not is_loopback(host):
            log.warning(
                "HTTP on %s asks for no token: whoever reaches it sees addresses, offsets and the "
                "names of sinks, though no data; http.token_file closes it",
                host,
            )

    def middleware(self) -> Middleware:
        """Give what aiohttp calls before each handler."""

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path not in FREE_PATHS and not self.is_open_to(request):
                refusal = await self._refusal(request)
                if refusal is not None:
                    return refusal
            return await handler(request)

        return check

    def is_open_to(self, request: web.Request) -> bool:
        """Tell whether a request may see everything without a token."""
        strange = self._exposed and not is_ours(request.headers.get("Host"))
        return not (self.digests or strange)

    async def _refusal(self, request: web.Request) -> web.Response | None:
        if not self.digests:
            return _refuse(403, _STRANGE_NAME)
        given = _token(request.headers.get("Authorization", ""))
        if given is None:
            return _refuse(401, "a token is needed")
        address = request.remote or ""
        turn = self._logins.turn(address)
        if turn is None:
            return _refuse(429, "too many wrong tokens from this address")
        if turn.wait_seconds:
            await asyncio.sleep(turn.wait_seconds)
        digest = sha256(given).digest()
        same = [hmac.compare_digest(digest, each) for each in self.digests]  # all of them
        if any(same):
            self._logins.succeeded(address, turn)
            return None
        self._logins.failed(address, turn, "HTTP")
        return _refuse(401, "this is not the token")


def _token(header: str) -> bytes | None:
    """Take the token out of a header; None when there is none."""
    scheme, _, given = header.strip().partition(" ")
    given = given.strip()
    if not given or len(given) > _MAX_CREDENTIALS:
        return None
    if scheme.lower() == "bearer":
        return given.encode("utf-8", "surrogateescape")
    if scheme.lower() != "basic":
        return None
    try:
        pair = base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        return None
    return pair.partition(b":")[2]


def _refuse(status: int, text: str) -> web.Response:
    answer = web.Response(status=status, text=f"{text}\n", headers={"Cache-Control": "no-store"})
    if status == 401:
        for challenge in _CHALLENGES:
            answer.headers.add("WWW-Authenticate", challenge)
    elif status == 429:
        answer.headers["Retry-After"] = str(_RETRY_SECONDS)
    return answer
