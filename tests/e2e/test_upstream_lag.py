"""Lag behind the master: an injected delay of a known length is measured, and no key is written."""

from __future__ import annotations

import time

import pytest

from tests.servers.lab import Lab
from tests.servers.proxy import Action, Direction, Fault
from tests.servers.relay import Relay
from tests.servers.secrets import secret
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.relay_only

PROGRAM = "redis-7.0"
POLL_SECONDS = 0.25


def _lag(relay: Relay) -> tuple[int | None, float | None]:
    upstream = relay.status()["upstream"]
    return upstream["lag_bytes"], upstream["lag_seconds"]


def test_a_stalled_link(lab: Lab) -> None:
    """The link stalls at a byte while the poll's own connection goes on.

    The true lag is between the time since the write was asked for and since the poll has seen it.
    """
    master = lab.master(PROGRAM)
    stall = Fault(direction=Direction.TO_CLIENT, action=Action.STALL, at=b"stall-here")
    relay = lab.relay(lab.proxy(master, stall), upstream_poll_seconds=POLL_SECONDS)
    relay.wait_link()
    wait_for("the master's offset is known", lambda: _lag(relay) == (0, 0.0))
    before = master.offset
    began = time.monotonic()
    master.call("SET", "key", "stall-here")
    master.call("SET", "more", "x" * 1000)
    wait_for("the poll has seen it", lambda: _lag(relay)[0])
    seen = time.monotonic()

    def late(seconds: float) -> bool:
        asked = time.monotonic()
        _, shown = _lag(relay)
        answered = time.monotonic()
        if shown is None or shown < seconds:
            return False
        assert shown <= answered - began
        assert shown >= asked - seen
        return True

    for seconds in (0.5, 2.0, 4.0):
        wait_for(f"{seconds} s of lag", lambda s=seconds: late(s))  # type: ignore[misc]
    missing, _ = _lag(relay)
    assert missing is not None
    assert missing >= 1000
    assert missing <= master.offset - before
    assert master.call("DBSIZE") == 2


def test_a_user_that_may_not_ask(lab: Lab) -> None:
    """The smallest ACL: the link works, the lag is not known, and that is said once."""
    master = lab.master(PROGRAM)
    master.call("ACL", "SETUSER", "tap", "on", f">{secret()}", "+psync", "+replconf", "+ping")
    relay = lab.relay(
        master,
        upstream_username="tap",
        upstream_password=secret(),
        upstream_poll_seconds=POLL_SECONDS,
    )
    relay.wait_link()
    wait_for("it says why", lambda: "+info" in relay.status()["upstream"]["master_offset_error"])
    upstream = relay.status()["upstream"]
    assert upstream["master_offset"] is upstream["lag_bytes"] is upstream["lag_seconds"] is None
    assert upstream["link_up"]
    assert relay.log.count("lag behind the master is not known") == 1
