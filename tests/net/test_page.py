"""The page is one file, and its policy lets nothing else in."""

import base64
import hashlib
import re

from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from repltap.net.page import content_security_policy, load_page
from repltap.net.web import create_app
from tests.net.admin.fakes import relay_status

PAGE = load_page().body.decode()


async def test_it_is_served_with_its_policy() -> None:
    async with TestClient(TestServer(create_app(relay_status, CollectorRegistry()))) as client:
        answer = await client.get("/")
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert (await answer.text()) == PAGE
        policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_policy_names_what_is_in_the_page() -> None:
    digest = base64.b64encode(hashlib.sha256(b"let a = 1;\n").digest()).decode()
    policy = content_security_policy("<style>a</style><script>let a = 1;\n</script>")
    assert f"script-src 'sha256-{digest}';" in policy
    assert content_security_policy(PAGE).count("sha256-") == 2


def test_it_needs_nothing_from_elsewhere() -> None:
    urls = set(re.findall(r"https?://[^\s\"'<>`)]+", PAGE))
    assert urls == {"http://www.w3.org/2000/svg"}  # the name of a language
    assert not re.search(r"<(link|script|img|iframe)[^>]+(src|href)=\"(?!data:)", PAGE)


def test_no_text_becomes_html() -> None:
    """Names of replicas come from whoever connects."""
    for way in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function("):
        assert way not in PAGE


def test_no_style_or_handler_in_an_attribute() -> None:
    """The policy would refuse them, seen by the browser only."""
    markup = re.sub(r"<(script|style)>.*?</\1>", "", PAGE, flags=re.DOTALL)
    assert not re.search(r"\s(style|on[a-z]+)=", markup)
