"""What a relay logs in its life: peer and replid where there is one, and nothing per command."""

from __future__ import annotations

import json
import re

import pytest

from tests.servers.lab import Lab
from tests.servers.relay import Relay
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.relay_only

PROGRAM = "valkey-9.1"
WITHOUT_REPLID = re.compile(r"gives a full resync: |waits: ")
"""The first says it itself; of the second nobody knows yet what it will be given."""


def lines(relay: Relay) -> list[dict[str, str]]:
    whole = relay.log.split("\n")[:-1]  # behind the last end of a line one may be half written
    return [json.loads(line) for line in whole]


def test_a_life_in_json(lab: Lab) -> None:
    master = lab.master(PROGRAM)
    proxy = lab.proxy(master)
    relay = lab.relay(proxy, log_json="yes", log_level="debug")
    relay.wait_link()
    replica = lab.server(PROGRAM, "replica", upstream=relay)
    replica.wait_link()
    said = len(lines(relay))
    with master.client() as client, relay.client() as asking:
        client.pipeline([("SET", f"key:{number}", number) for number in range(3000)])
        asking.pipeline([("PING",), ("INFO",), ("SET", "a", "b")] * 100)
    wait_for("all of it", lambda: replica.offset == master.offset)
    assert len(lines(relay)) - said < 10  # nothing a command
    proxy.cut()
    wait_for("it goes on", lambda: "continues from offset" in relay.log)
    promoted = lab.server(PROGRAM, "promoted", upstream=master)
    promoted.wait_ready()
    promoted.wait_link()
    promoted.call("REPLICAOF", "NO", "ONE")
    relay.follow(promoted)
    wait_for("the new history is followed", lambda: relay.replid == promoted.replid)
    # Its link of before may look as if it were up still.
    wait_for("the replica, too", lambda: replica.link_up and replica.replid == promoted.replid)
    gone = relay.log.count("replica disconnected: ")
    replica.kill()
    wait_for("it is gone", lambda: relay.log.count("replica disconnected: ") > gone)
    assert relay.stop() == 0

    told = lines(relay)
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in told)
    assert {"info", "warning"} <= {line["level"] for line in told}
    of_links = [x for x in told if x["logger"] in ("repltap.upstream", "repltap.downstream")]
    assert len(of_links) > 8
    for line in of_links:
        assert ":" in line["peer"], line
        if not WITHOUT_REPLID.match(line["message"]):
            assert re.fullmatch("[0-9a-f]{40}", line["replid"]), line
    assert {line["replid"] for line in of_links if "replid" in line} >= {
        master.replid,
        promoted.replid,
    }
    assert all("replid" in line for line in told if line["logger"] == "repltap.journal")
