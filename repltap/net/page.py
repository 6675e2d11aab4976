"""`/`: the status page, one file beside this module that needs nothing from anywhere else.

The page is fixed: nothing is ever written into it here. Its script and style are allowed by their
checksums, so that the browser runs nothing that a replica's name might smuggle in.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from dataclasses import dataclass
from importlib import resources

from aiohttp import web

_FILE = "page.html"


@dataclass(frozen=True, slots=True)
class Page:
    """The page as it is served.

    Attributes:
        body: The HTML.
        headers: What goes with it.
    """

    body: bytes
    headers: dict[str, str]

    async def serve(self, _request: web.Request) -> web.Response:
        """Answer a browser."""
        return web.Response(body=self.body, headers=self.headers)


def load_page() -> Page:
    """Read the page out of the package."""
    body = resources.files("repltap.net").joinpath(_FILE).read_bytes()
    return Page(body, {
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": "no-cache",
        "Content-Security-Policy": content_security_policy(body.decode()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    })  # fmt: skip


def content_security_policy(page: str) -> str:
    """Allow a page its own inline script and style, questions to its own origin, nothing else.

    Args:
        page: HTML whose `script` and `style` elements have no attributes.
    """
    return "; ".join((
        "default-src 'none'",
        f"script-src {_hashes('script', page)}",
        f"style-src {_hashes('style', page)}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ))  # fmt: skip


def _hashes(element: str, page: str) -> str:
    found = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
    digests = (b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in found)
    return " ".join(f"'sha256-{digest}'" for digest in digests)
