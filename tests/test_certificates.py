"""What the relay says of its own certificates, and how it reads them again."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from repltap.certificates import Certificates
from repltap.config import load
from repltap.errors import ConfigError
from repltap.reload import Reloads
from repltap.rereading import Sources
from tests.servers.certificates import Authority, Pair
from tests.tls_files import authority

DAY = 86400


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return authority(tmp_path)


def flags(upstream: Pair, listen: Pair, http: Pair) -> dict[str, object]:
    """Configure all three."""
    return {
        "upstream": "rediss://m",
        "data_dir": "d",
        "listen_tls_address": "127.0.0.1:0",
        "http": "127.0.0.1:0",
        **upstream.options("upstream_tls_"),
        **listen.options("listen_tls_"),
        **http.options("http_tls_"),
    }


class Rig:
    """Certificates, and what reads them again."""

    def __init__(self, given: dict[str, object]) -> None:
        self.given = given
        self.made = Certificates(load(given, {}, None))
        self.reloads = Reloads()
        self.retried = 0
        self.made.read_again(self.reloads, Sources(given, {}, None), self._retry)

    def _retry(self) -> None:
        self.retried += 1

    def reload(self, side: str) -> str:
        return self.reloads._parts[f"{side} TLS"]()()


def test_what_is_shown_and_warned_of(ca: Authority, caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(flags(ca.issue("a", days=400), ca.issue("b", days=3.5), ca.issue("c", days=-2)))
    rig.made.load()
    found = {one.side: one for one in rig.made.status()}
    assert {side: one.name for side, one in found.items()} == {
        "upstream": "a",
        "listen": "b",
        "http": "c",
    }
    assert abs(found["listen"].expires_at - time.time() - 3.5 * DAY) < 3600
    rig.made.warn(time.time())
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    assert f"listen: the certificate in {found['listen'].file} expires in 3 days" in caplog.text
    assert f"http: the certificate in {found['http'].file} has expired" in caplog.text
    caplog.clear()
    rig.made.warn(time.time() + 400 * DAY)
    assert caplog.text.count("has expired") == 3


def test_reading_again(ca: Authority) -> None:
    """Renewed files count, damaged ones do not, and each side is read by itself."""
    first, second = ca.issue("old"), ca.issue("old")
    rig = Rig(flags(first, second, ca.issue()))
    rig.made.load()
    ca.issue("new", into=first)
    second.key_file.write_text("damage")
    assert "new connections" in rig.reload("upstream")
    assert rig.retried == 1
    with pytest.raises(ConfigError, match="listen: tls_cert_file"):
        rig.reload("listen")
    assert [one.name for one in rig.made.status()][:2] == ["new", "old"]
    other = ca.issue("elsewhere")
    rig.given |= other.options("listen_tls_")
    rig.reload("listen")
    assert [one.name for one in rig.made.status()][:2] == ["new", "elsewhere"]


def test_switching_off_needs_a_restart(ca: Authority) -> None:
    rig = Rig(flags(ca.issue(), ca.issue(), ca.issue()))
    for name in list(rig.given):
        if "tls" in name:
            del rig.given[name]
    rig.given["upstream"] = "redis://m"
    for side in ("upstream", "listen", "http"):
        with pytest.raises(ConfigError, match=f"{side}: TLS is off in the configuration now"):
            rig.reload(side)


def test_nothing_without_tls() -> None:
    made = Certificates(load({"upstream": "redis://m", "data_dir": "d"}, {}, None))
    made.load()
    assert made.status() == ()
