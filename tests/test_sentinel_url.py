"""Upstream URLs that name sentinels."""

from __future__ import annotations

import pytest

from repltap.sentinel_url import MAX_SENTINELS, parse_upstream
from repltap.values import UpstreamUrl


@pytest.mark.parametrize(
    ("raw", "addresses", "name", "username", "password"),
    [
        ("redis-sentinel://a/m", [("a", 26379)], "m", None, None),
        ("valkey-sentinel://a:1,b:2,a:1/m", [("a", 1), ("b", 2)], "m", None, None),
        ("redis-sentinel://[::1]:7,[fe80::1],h/my-master.1", [("::1", 7), ("fe80::1", 26379),
         ("h", 26379)], "my-master.1", None, None),
        ("redis-sentinel://u:p%40%2Fq@a/m%2B", [("a", 26379)], "m+", "u", "p@/q"),
        ("redis-sentinel://:pw@a/m", [("a", 26379)], "m", None, "pw"),
        ("redis-sentinel://u@a/m", [("a", 26379)], "m", "u", None),
    ],
)  # fmt: skip
def test_urls(
    raw: str,
    addresses: list[tuple[str, int]],
    name: str,
    username: str | None,
    password: str | None,
) -> None:
    assert parse_upstream(raw) == UpstreamUrl(
        "", 0, username, password, sentinels=tuple(addresses), master_name=name
    )


@pytest.mark.parametrize("scheme", ["rediss-sentinel", "valkeys-sentinel"])
def test_tls(scheme: str) -> None:
    assert parse_upstream(f"{scheme}://a/m") == UpstreamUrl(
        "", 0, tls=True, sentinels=(("a", 26379),), master_name="m"
    )


def test_masters_urls_as_before() -> None:
    assert parse_upstream("redis://h:1") == UpstreamUrl("h", 1)
    with pytest.raises(ValueError, match="must be a URL"):
        parse_upstream(7)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("redis-sentinel://a:1", "master's name is missing"),
        ("redis-sentinel://a:1/", "master's name is missing"),
        ("redis-sentinel://a/m/0", "master's name is missing"),
        ("redis-sentinel://a/m?x", "master's name is missing"),
        ("redis-sentinel:///m", "host is missing"),
        ("redis-sentinel://a,,b/m", "host is missing"),
        ("redis-sentinel://a:0/m", "not a port"),
        ("redis-sentinel://a:x/m", "not a port"),
        ("redis-sentinel://a:/m", "port is missing"),
        ("redis-sentinel://a:65536/m", "not a port"),
        ("redis-sentinel://::1/m", "brackets"),
        ("redis-sentinel://[::1]x/m", r"not \[host\]:port"),
        (f"redis-sentinel://{','.join(f'h{n}' for n in range(MAX_SENTINELS + 1))}/m", "more than"),
    ],
)
def test_what_is_none(raw: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_upstream(raw)


def test_no_password_in_an_error() -> None:
    with pytest.raises(ValueError) as caught:
        parse_upstream("redis-sentinel://u:hunter2@a:x/m")
    assert "hunter2" not in str(caught.value)
