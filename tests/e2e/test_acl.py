"""The ACL users of deploy/acl.md, at each real server: enough, and no command too many."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.servers.dataset import wait_same
from tests.servers.lab import Lab
from tests.servers.relay import Relay
from tests.servers.secrets import secret
from tests.servers.server import Server
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.relay_only

DOCUMENT = Path(__file__).parents[2] / "deploy" / "acl.md"
PROGRAMS = ("redis-6.2", "redis-7.0", "redis-8.2", "valkey-8.1", "valkey-9.1")
NEEDED = ("+psync", "+replconf")
TAIL_BYTES = 20_000


def documented() -> dict[str, list[str]]:
    """The rules in the document, by server: the words after ACL SETUSER."""
    rows = re.findall(
        r"^\| ([A-Z]\w+ [\d.]+) .*\| `ACL SETUSER (.+?)` \|$", DOCUMENT.read_text(), re.MULTILINE
    )
    return {server.lower().replace(" ", "-"): rule.split() for server, rule in rows}


def set_user(master: Server, rule: list[str]) -> None:
    """Make the user as the document says; `>PASSWORD` is what its reader fills in."""
    assert ">PASSWORD" in rule
    words = [f">{secret('tap')}" if word == ">PASSWORD" else word for word in rule]
    assert master.call("ACL", "SETUSER", *words) == b"OK"


def denied(master: Server) -> list[str]:
    """The commands that a user was refused."""
    log = master.call("ACL", "LOG")
    entries = [dict(zip(entry[::2], entry[1::2], strict=True)) for entry in log]
    return [entry[b"object"].decode() for entry in entries if entry[b"reason"] == b"command"]


def tap(lab: Lab, master: Server, name: str = "relay") -> Relay:
    """A relay that logs in as that user."""
    return lab.relay(
        master,
        name,
        upstream_username="repltap",
        upstream_password=secret("tap"),
        upstream_poll_seconds=1,
        snapshot_max_tail_bytes=TAIL_BYTES,
    )


def refreshes(relay: Relay) -> dict[str, int]:
    return dict(relay.status()["counters"]["snapshot_refreshes_by_reason"])


def guarded(lab: Lab, program: str) -> Server:
    """A master whose default user has a password: all that the relay may do it may as its own."""
    return lab.master(program, requirepass=secret("boss"))


def test_the_document_has_a_rule_for_each_server() -> None:
    assert set(documented()) == set(PROGRAMS)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_user_can_do_all_that_a_relay_does(lab: Lab, program: str) -> None:
    """A full sync, a partial one, a snapshot over a second connection; nothing is refused."""
    master = guarded(lab, program)
    set_user(master, documented()[program])
    relay = tap(lab, master)
    relay.wait_link()
    early = lab.server(program, "early", upstream=relay)
    early.wait_link()

    master.call("SET", "first", "x" * TAIL_BYTES)
    end = master.offset
    wait_for(
        "its acknowledgement", lambda: (relay.status()["upstream"]["acked_offset"] or 0) >= end
    )

    master.drop_replicas()
    wait_for("a partial resync", lambda: master.syncs.partial_ok == 1)
    relay.wait_link()

    master.call("SET", "second", "x")
    late = lab.server(program, "late", upstream=relay)
    late.wait_link()
    wait_for("the refresh is counted", lambda: refreshes(relay) == {"tail": 1})
    wait_same(master, early, late)
    assert master.syncs.full == 2
    wait_for("the master's offset", lambda: relay.status()["upstream"]["lag_bytes"] == 0)
    assert denied(master) == []


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("missing", NEEDED)
def test_with_one_command_fewer_it_is_refused(lab: Lab, program: str, missing: str) -> None:
    master = guarded(lab, program)
    set_user(master, [word for word in documented()[program] if word != missing])
    relay = tap(lab, master)
    wait_for("a refusal", lambda: relay.status()["upstream"]["last_error"])
    shown = relay.status()["upstream"]
    assert f"the master's ACL forbids {missing[1:].upper()}" in shown["last_error"]
    assert not shown["link_up"]
    assert missing[1:] in denied(master)
    assert master.syncs.full == 0


@pytest.mark.parametrize("program", PROGRAMS)
def test_without_info_only_the_lag_is_not_known(lab: Lab, program: str) -> None:
    master = guarded(lab, program)
    set_user(master, [word for word in documented()[program] if word != "+info"])
    relay = tap(lab, master)
    relay.wait_link()
    wait_for("a refusal", lambda: relay.status()["upstream"]["master_offset_error"])
    shown = relay.status()["upstream"]
    assert "+info" in shown["master_offset_error"]
    assert shown["lag_bytes"] is None
    assert shown["link_up"]
    assert denied(master) == ["info"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_user_can_do_nothing_else(lab: Lab, program: str) -> None:
    master = guarded(lab, program)
    set_user(master, documented()[program])
    with master.client() as client:
        client.call("SET", "key", "value")
        client.call("AUTH", "repltap", secret("tap"))
        attempts = (("GET", "key"), ("SET", "key", "other"), ("CONFIG", "GET", "*"))
        refused = [str(reply) for reply in client.pipeline(attempts)]
    assert all(reply.startswith("NOPERM") for reply in refused), refused
