"""Who will be let in, as the check tells it."""

from __future__ import annotations

from pathlib import Path

import pytest

from repltap.config import load
from repltap.preflight.access import check_access
from repltap.preflight.finding import Finding, Level


def found(environ: dict[str, str], **flags: str) -> list[Finding]:
    least = {"upstream": "redis://m", "data_dir": "d"}
    return check_access(load(least | flags, environ, None))


@pytest.mark.parametrize(
    ("flags", "level", "text"),
    [
        ({}, Level.OK, "this machine alone"),
        ({"listen": "localhost:1"}, Level.OK, "this machine alone"),
        ({"listen": "0.0.0.0:1"}, Level.WARN, "others than this machine are refused at 0.0.0.0"),
        ({"listen": "[::]:1", "listen_protected_mode": "no"}, Level.WARN, "can read all data"),
        ({"listen_tls_address": "0.0.0.0:2"}, Level.WARN, "this machine are refused at 0.0.0.0"),
        ({"listen": "off", "listen_tls_address": "127.0.0.1:2"}, Level.OK, "this machine alone"),
    ],
)
def test_nobody_has_to_log_in(flags: dict[str, str], level: Level, text: str) -> None:
    if "listen_tls_address" in flags:
        files = {"listen_tls_cert_file": "c", "listen_tls_key_file": "k"}
        flags = flags | files | {"listen_tls_auth_clients": "no"}
    (port,) = found({}, **flags)
    assert (port.check, port.level) == ("access", level)
    assert text in port.found
    assert bool(port.advice) is (level is Level.WARN)


def test_users_are_named_with_their_rights(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text('[user.watch]\nrights = ["status"]\npassword = "hunter2"\n')
    least = {"upstream": "redis://m", "data_dir": "d"}
    (port,) = check_access(load(least, {}, file))
    assert port.level is Level.WARN
    assert port.found == "watch (status): no replica can follow the relay"
    (port,) = check_access(load(least, {"REPLTAP_LISTEN_PASSWORD": "hunter2"}, file))
    assert (port.level, port.found) == (Level.OK, "default (all), watch (status)")


@pytest.mark.parametrize(
    ("http", "token", "level", "text"),
    [
        ("127.0.0.1:1", "", Level.OK, "this machine alone"),
        ("0.0.0.0:1", "hunter2", Level.OK, "a token is asked for"),
        ("0.0.0.0:1", "", Level.WARN, "sees addresses"),
    ],
)
def test_http(http: str, token: str, level: Level, text: str) -> None:
    _, shown = found({"REPLTAP_HTTP_TOKEN": token}, http=http)
    assert (shown.check, shown.level) == ("http-access", level)
    assert text in shown.found
