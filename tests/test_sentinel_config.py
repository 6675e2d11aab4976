"""The sentinels of the configuration, and the login there."""

from __future__ import annotations

from pathlib import Path

import pytest

from repltap.config import SentinelConfig, load_upstream
from repltap.errors import ConfigError

URL = "redis-sentinel://relay@10.0.0.1,10.0.0.2/mymaster"
MASTER = {"REPLTAP_UPSTREAM_PASSWORD": "of-the-master"}


def test_two_logins(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of-the-sentinels\n")
    environ = {
        **MASTER,
        "REPLTAP_UPSTREAM": URL,
        "REPLTAP_UPSTREAM_SENTINEL_USERNAME": "watcher",
        "REPLTAP_UPSTREAM_SENTINEL_PASSWORD_FILE": str(secret),
    }
    found = load_upstream({}, environ, None)
    assert found.sentinel == SentinelConfig(
        addresses=(("10.0.0.1", 26379), ("10.0.0.2", 26379)),
        master_name="mymaster",
        username="watcher",
        password="of-the-sentinels",
    )
    assert (found.host, found.port, found.socket_path) == ("", 0, None)
    assert (found.username, found.password) == ("relay", "of-the-master")
    assert found.source == "mymaster"
    assert "of-the" not in repr(found)


def test_a_login_needs_sentinels_and_a_user_a_password() -> None:
    environ = {"REPLTAP_UPSTREAM_SENTINEL_PASSWORD": "x"}
    with pytest.raises(ConfigError, match="and no sentinels"):
        load_upstream({"upstream": "redis://a"}, environ, None)
    with pytest.raises(ConfigError, match="sentinel_tls is set, and there are no sentinels"):
        load_upstream({"upstream": "rediss://a", "upstream_sentinel_tls": "yes"}, {}, None)
    flags = {"upstream": URL, "upstream_sentinel_username": "watcher"}
    with pytest.raises(ConfigError, match="no password for the sentinels' user 'watcher'"):
        load_upstream(flags, MASTER, None)
