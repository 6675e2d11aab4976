"""Whose name a browser used."""

from __future__ import annotations

import socket

import pytest

from repltap.net.web_host import is_exposed, is_ours


@pytest.mark.parametrize(
    ("host", "tls", "exposed"),
    [
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("localhost", False, True),
        ("127.0.0.1", True, False),
        ("0.0.0.0", False, False),
        ("10.0.0.2", False, False),
    ],
)
def test_where_names_are_looked_at(host: str, tls: bool, exposed: bool) -> None:
    assert is_exposed(host, tls=tls) is exposed


@pytest.mark.parametrize(
    "host",
    [
        None,
        "127.0.0.1",
        "127.0.0.1:8380",
        "10.0.0.2:80",
        "[::1]:8380",
        "[::1]",
        "localhost",
        "LocalHost.:8380",
        "relay.localhost:8380",
        "box7.example.com:8380",
        "BOX7:8380",
    ],
)
def test_ours(host: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "box7.example.com")
    assert is_ours(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":8380",
        "evil.example",
        "evil.example:8380",
        "localhost.evil.example",
        "notlocalhost",
        "127.0.0.1.evil.example",
        "[evil.example]:8380",
        "box7.evil.example:8380",
        "example.com",
        "127.0.0.1@evil.example",
    ],
)
def test_not_ours(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "box7.example.com")
    assert not is_ours(host)
