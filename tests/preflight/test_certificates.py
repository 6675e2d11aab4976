"""The relay's own certificates, as the check tells of them."""

from __future__ import annotations

from pathlib import Path

from repltap.config import load
from repltap.preflight.certificates import check_certificates
from repltap.preflight.finding import Finding, Level
from tests.tls_files import authority


def found(**flags: object) -> list[Finding]:
    least: dict[str, object] = {"upstream": "rediss://m", "data_dir": "d"}
    return check_certificates(load(least | flags, {}, None))


def test_none() -> None:
    assert found() == []


def test_how_long_they_are_valid(tmp_path: Path) -> None:
    ca = authority(tmp_path)
    upstream, listen, http = found(
        **ca.issue("a", days=400).options("upstream_tls_"),
        **ca.issue("b", days=3.5).options("listen_tls_"),
        **ca.issue("c", days=-2).options("http_tls_"),
        listen_tls_address="127.0.0.1:0",
        http="127.0.0.1:0",
    )
    assert (upstream.check, upstream.level) == ("upstream-certificate", Level.OK)
    assert upstream.found.startswith("a is valid until ")
    assert (listen.check, listen.level) == ("listen-certificate", Level.WARN)
    assert (http.check, http.level) == ("http-certificate", Level.FAIL)
    assert http.found.startswith("c has expired, on ")
    assert http.advice


def test_one_that_the_relay_would_not_start_with(tmp_path: Path) -> None:
    """Found in a review: the check said nothing of it."""
    pair = authority(tmp_path).issue("a")
    pair.key_file.unlink()
    (one,) = found(listen_tls_address="127.0.0.1:0", **pair.options("listen_tls_"))
    assert (one.check, one.level) == ("listen-certificate", Level.FAIL)
    assert "can't be read: No such file" in one.found
