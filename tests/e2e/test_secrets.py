"""The search for secrets finds what is planted, wherever a relay or a worker could show it."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import pytest

from tests.servers.lab import Lab
from tests.servers.process import Process
from tests.servers.raw import RawReplica
from tests.servers.relay import Relay
from tests.servers.secrets import MARK, assert_no_secret, judged, leaks, secret, unmarked
from tests.servers.waiting import PATIENCE_SECONDS, wait_for

PROGRAM = "valkey-9.1"


class Program(Process):
    """A Python program."""

    def __init__(self, directory: Path, code: str) -> None:
        super().__init__("program", directory)
        self._argv = [sys.executable, "-c", code]

    def start(self) -> None:
        self.spawn(self._argv)


@pytest.mark.parametrize(
    "shown",
    [
        secret(),
        secret("with a name"),
        MARK.encode().hex(),
        *(base64.b64encode(b"x" * n + MARK.encode() + b"y" * n).decode() for n in range(4)),
    ],
)
def test_a_secret_is_found_in_any_form(shown: str) -> None:
    assert leaks([("here", f"a {shown} b".encode())])
    with pytest.raises(AssertionError, match="here shows a secret"):
        assert_no_secret(("here", shown.encode()))


def test_a_secret_without_the_mark_is_refused(tmp_path: Path) -> None:
    assert list(unmarked({"listen_password": "x", "sink_a_token": secret("a"), "port": 1})) == [
        "listen_password"
    ]
    assert not list(unmarked({"requirepass": "", "masterauth": f'"{secret("a b")}"'}))
    with pytest.raises(AssertionError, match="secret"):
        Relay(tmp_path, "relay", 1, {"upstream_password": "word"})


def test_a_secret_in_a_log_fails_the_test(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    program = lab.add(Program(tmp_path / "x", f"print('said {secret()}')"))
    program.wait()
    with pytest.raises(AssertionError, match=r"the log of program shows a secret: b'said "):
        lab.close()


@pytest.mark.parametrize("section", ["Captured log call", "Captured stderr teardown"])
def test_what_pytest_has_captured_is_searched(section: str) -> None:
    def report(text: str) -> pytest.TestReport:
        here = ("tests/x.py", 1, "test_x")
        sections = [(section, text)]
        return pytest.TestReport("x", here, {}, "passed", None, "call", sections=sections)

    assert judged(report("nothing")).passed
    found = judged(report(f"AUTH {secret()}"))
    assert found.failed
    assert str(found.longrepr).startswith(f"{section.lower()} shows a secret: b'AUTH ")


@pytest.mark.relay_only
def test_a_secret_that_is_shown_anywhere_is_found(tmp_path: Path) -> None:
    """What a relay may show is named like a secret: each place that shows it has to be told."""
    lab = Lab(tmp_path)
    try:
        master = lab.master(PROGRAM)
        token = tmp_path / "token"
        token.write_text(f"{secret('token')}\n")
        relay = lab.add(
            Relay(
                tmp_path / MARK,
                "relay",
                master.port,
                {
                    "sink": f"file:x.jsonl,sink={MARK}",
                    "http_token_file": str(token),
                    "listen_password": secret("port"),
                },
            )
        )
        relay.search_seconds = PATIENCE_SECONDS
        relay.wait_link()
        wait_for("its worker", relay.children)
        with RawReplica(relay.port) as replica, relay.client() as client:
            client.call("CLIENT", "SETNAME", MARK)
            replica.send(b"AUTH %s\r\n" % secret("port").encode())
            replica.send(
                b"REPLCONF ip-address %s listening-port 7\r\nPSYNC ? -1\r\n" % MARK.encode()
            )
            wait_for("the replica", relay.replicas)
            wait_for("the event", lambda: b'"kind":"replica"' in relay.events())
            relay.search()
    finally:
        with pytest.raises(AssertionError, match="the log of relay shows"):
            lab.close()
    told = {leak.partition(" of relay")[0] for leak in relay.leaks}
    places = {"/api/status", "/api/events", "/metrics", "the command line"}
    assert told == places | {"INFO all", "CONFIG GET *", "CLIENT LIST"}
