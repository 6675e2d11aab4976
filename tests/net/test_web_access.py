"""The token of the HTTP side: who needs one, how it is given, and what a wrong one costs."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from repltap.access import digest
from repltap.net import logins
from repltap.net.login_watch import LoginWatch
from repltap.net.logins import FREE_FAILURES, Turn
from repltap.net.web import create_app
from repltap.net.web_access import WebAccess
from repltap.status.link import LinkState
from repltap.status.relay import RelayStatus
from repltap.values import readiness as parse_readiness
from tests.net.admin.fakes import relay_status
from tests.stored import HANG_SECONDS

TOKEN = "tökén"
GUARDED = ("/", "/api/status", "/api/events", "/metrics", "/else")


def basic(user: str, word: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{word}".encode()).decode()}


def broken_link() -> RelayStatus:
    shown = relay_status()
    link = replace(shown.upstream, state=LinkState.CONNECT, last_error="refused user 'tap'")
    return replace(shown, upstream=link)


@pytest.fixture
def access() -> WebAccess:
    return WebAccess((digest(TOKEN), digest("next")), LoginWatch())


@pytest.fixture
async def client(access: WebAccess) -> AsyncIterator[TestClient]:  # type: ignore[type-arg]
    app = create_app(relay_status, CollectorRegistry(), access=access)
    async with TestClient(TestServer(app)) as made:
        yield made


@pytest.mark.parametrize("path", GUARDED)
async def test_what_needs_the_token(client: TestClient, path: str) -> None:  # type: ignore[type-arg]
    answer = await client.get(path)
    assert answer.status == 401
    assert [each.split()[0] for each in answer.headers.getall("WWW-Authenticate")] == [
        "Basic",
        "Bearer",
    ]
    assert await answer.text() == "a token is needed\n"
    assert answer.headers["Cache-Control"] == "no-store"


async def test_probes_need_none(client: TestClient) -> None:  # type: ignore[type-arg]
    assert (await client.get("/healthz")).status == 200
    assert (await client.get("/readyz")).status == 200


async def test_probes_learn_no_more_than_the_state(access: WebAccess) -> None:
    """Found in a review: errors name the master, our user there, and files with passwords."""
    app = create_app(broken_link, CollectorRegistry(), parse_readiness("link"), access)
    async with TestClient(TestServer(app)) as made:
        for tokens, said in ((access.digests, ""), ((), ": refused user 'tap'")):
            access.digests = tokens
            answer = await made.get("/readyz")
            assert answer.status == 503
            (reason,) = (await answer.json())["reasons"]
            assert reason["text"] == f"the link to the master is in state connect{said}"


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {TOKEN}"},
        {"Authorization": "bearer   next "},
        basic("", TOKEN),
        basic("anybody", "next"),
    ],
)
async def test_ways_to_give_it(client: TestClient, headers: dict[str, str]) -> None:  # type: ignore[type-arg]
    assert (await client.get("/api/status", headers=headers)).status == 200
    assert (await client.get("/else", headers=headers)).status == 404


@pytest.mark.parametrize(
    ("headers", "counted"),
    [
        ({"Authorization": ""}, 0),
        ({"Authorization": "Bearer"}, 0),
        ({"Authorization": "Digest x"}, 0),
        ({"Authorization": "Basic ***"}, 0),
        ({"Authorization": "Bearer " + "x" * 5000}, 0),
        ({"Authorization": f"Bearer {TOKEN}x"}, 1),
        (basic(TOKEN, "x"), 1),
        (basic("x", ""), 1),
    ],
)
async def test_what_is_no_token(
    client: TestClient,  # type: ignore[type-arg]
    access: WebAccess,
    headers: dict[str, str],
    counted: int,
) -> None:
    assert (await client.get("/metrics", headers=headers)).status == 401
    assert access._logins.guard.failed_total == counted


async def test_wrong_tokens_wait(
    client: TestClient,  # type: ignore[type-arg]
    access: WebAccess,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logins, "_FORGIVEN_SECONDS", 1000 * HANG_SECONDS)
    wrong = {"Authorization": "Bearer wrong"}
    for _ in range(FREE_FAILURES):
        assert (await client.get("/metrics", headers=wrong)).status == 401
    turns: list[Turn | None] = []
    real = access._logins.turn

    def noted(address: str) -> Turn | None:
        turns.append(real(address))
        return Turn(0.05, charged=True)  # however long the test took

    monkeypatch.setattr(access._logins, "turn", noted)
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert (await client.get("/metrics", headers=right)).status == 200
    assert turns[0]
    assert turns[0].charged
    monkeypatch.setattr(access._logins, "turn", lambda _address: None)
    answer = await client.get("/metrics", headers=right)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "10")


async def test_without_tokens_nobody_needs_one(client: TestClient, access: WebAccess) -> None:  # type: ignore[type-arg]
    access.digests = ()
    assert (await client.get("/metrics")).status == 200
    access.digests = (digest("later"),)
    assert (await client.get("/metrics")).status == 401


async def test_a_page_from_elsewhere_reads_nothing_by_a_name_of_its_own() -> None:
    """DNS rebinding: a browser takes the page and this port for the same place then."""
    access = WebAccess((), LoginWatch(), exposed=True)
    app = create_app(broken_link, CollectorRegistry(), parse_readiness("link"), access)
    strange = {"Host": "evil.example:8380"}
    async with TestClient(TestServer(app)) as made:
        for path in GUARDED:
            answer = await made.get(path, headers=strange)
            assert answer.status == 403
            assert "use http://127.0.0.1" in await answer.text()
        assert (await made.get("/api/status")).status == 200
        assert (await made.get("/api/status", headers={"Host": "localhost:1"})).status == 200
        assert (await made.get("/healthz", headers=strange)).status == 200
        assert "refused" not in await (await made.get("/readyz", headers=strange)).text()
        assert "refused" in await (await made.get("/readyz")).text()
        # Where a token is asked for it is the shield, and names are the proxy's business.
        access.digests = (digest(TOKEN),)
        assert (await made.get("/api/status", headers=strange)).status == 401
        brought = {**strange, "Authorization": f"Bearer {TOKEN}"}
        assert (await made.get("/api/status", headers=brought)).status == 200


@pytest.mark.parametrize(
    ("host", "tokens", "said"),
    [("127.0.0.1", 0, False), ("::1", 0, False), ("0.0.0.0", 1, False), ("0.0.0.0", 0, True)],
)
def test_an_open_page_is_told_at_the_start(
    host: str, tokens: int, said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    WebAccess((digest("t"),) * tokens, LoginWatch()).warn(host)
    ours = [each for each in caplog.records if each.name == "repltap.access"]
    assert bool(ours) is said
