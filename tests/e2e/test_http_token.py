"""A relay whose HTTP side asks for a token: programs, the command line, a real browser."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.test_reload import hang_up
from tests.servers.browser import Browser
from tests.servers.lab import Lab
from tests.servers.relay import Relay
from tests.servers.secrets import secret

pytestmark = pytest.mark.relay_only

OLD, NEW = secret("old-token"), secret("new-token")


def ask(relay: Relay, path: str, token: str = "") -> int:
    """Give the status of an answer."""
    asked = urllib.request.Request(f"http://127.0.0.1:{relay.http_port}{path}")
    if token:
        asked.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return int(refused.code)


def guarded(lab: Lab) -> tuple[Relay, Path]:
    file = lab.directory / "token"
    file.write_text(f"{OLD}\n")
    relay = lab.relay(lab.master("redis-7.0"), http_token_file=str(file))
    relay.wait_link()
    return relay, file


def test_programs_bring_the_token_and_it_is_rotated(lab: Lab) -> None:
    relay, file = guarded(lab)
    assert ask(relay, "/healthz") == 200
    for path in ("/", "/api/status", "/metrics"):
        assert (ask(relay, path), ask(relay, path, NEW), ask(relay, path, OLD)) == (401, 401, 200)

    changed = "HTTP token: reloaded: changed"
    hang_up(relay, changed, lambda: file.write_text(f"{NEW}\n{OLD}\n"))
    assert (ask(relay, "/metrics", OLD), ask(relay, "/metrics", NEW)) == (200, 200)
    hang_up(relay, changed, lambda: file.write_text(f"{NEW}\n"))
    assert (ask(relay, "/metrics", OLD), ask(relay, "/metrics", NEW)) == (401, 200)

    command = [sys.executable, "-m", "repltap", "status", "--json"]
    address = ["--http", f"127.0.0.1:{relay.http_port}"]
    environ = {**relay.environ()}
    environ.pop("REPLTAP_HTTP_TOKEN_FILE")

    def told_by(line: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(line, check=False, env=environ, capture_output=True, text=True)

    told = told_by([*command, *address])
    assert told.returncode == 6
    assert "REPLTAP_HTTP_TOKEN or --token-file" in told.stderr
    address += ["--token-file", str(file)]
    told = told_by([*command, *address])
    assert told.returncode == 0, told.stderr
    assert '"login_failures": 4' in told.stdout
    assert "wrong password from 127.0.0.1 at HTTP" in relay.log


def test_a_browser_asks_for_the_token_once(lab: Lab, tmp_path: Path) -> None:
    """The page, its questions and its event stream go with what the browser was told."""
    relay, _ = guarded(lab)
    browser = Browser(tmp_path / "browser")
    try:
        browser.log_in("anybody", OLD)
        browser.open(f"http://127.0.0.1:{relay.http_port}/")
        browser.wait("the first answer", "document.querySelectorAll('.card').length >= 2")
        browser.wait("an event", "document.querySelectorAll('#events li').length >= 1")
        browser.wait("more answers", "+document.documentElement.dataset.answers > 2")
        assert browser.prompts == 1
        asked = {url.rpartition("/")[2] for url in browser.requests}
        assert {"status", "events"} <= asked
        assert [line for line in browser.console if "401" not in line] == []
    finally:
        browser.close()
