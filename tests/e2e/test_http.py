"""The HTTP port of a real relay: readiness, the documented form of its answers, its events."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from repltap.net.changes import Event
from repltap.status.relay import RelayStatus
from tests.net.schema import closed, schema_of
from tests.servers.dataset import wait_same
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.relay import Relay
from tests.servers.waiting import PATIENCE_SECONDS, wait_for

pytestmark = pytest.mark.relay_only

PROGRAM = "redis-7.0"
STATUS = Draft202012Validator(closed(schema_of(RelayStatus, "status")))
EVENT = Draft202012Validator(closed(schema_of(Event, "event")))


def ready(relay: Relay) -> tuple[int, dict[str, Any]]:
    """Ask `/readyz`."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{relay.http_port}/readyz") as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


@contextmanager
def events(relay: Relay, seen: str = "") -> Iterator[Iterator[dict[str, Any]]]:
    """Listen; each event is compared with the documented form."""
    request = urllib.request.Request(f"http://127.0.0.1:{relay.http_port}/api/events")
    if seen:
        request.add_header("Last-Event-ID", seen)
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:

        def each() -> Iterator[dict[str, Any]]:
            for line in answer:
                if line.startswith(b"data: "):
                    event = json.loads(line[6:])
                    EVENT.validate(event)
                    yield event

        yield each()


def until(told: Iterator[dict[str, Any]], **wanted: str) -> dict[str, Any]:
    """Read up to an event, or to one with such details."""
    for event in told:
        if {**event, **event["detail"]}.items() >= wanted.items():
            return event
    raise AssertionError(f"the stream has ended without {wanted}")


def test_ready_when_what_was_asked_for_is_there(lab: Lab) -> None:
    master = lab.server(PROGRAM, "master", start=False)
    relay = lab.relay(master, http_ready="snapshot,link,lag:30s")
    relay.wait_ready()
    status, document = ready(relay)
    assert status == 503
    assert {reason["condition"] for reason in document["reasons"]} == {"snapshot", "link", "lag"}
    rebound = urllib.request.Request(f"http://127.0.0.1:{relay.http_port}/api/status")
    rebound.add_header("Host", "evil.example")
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        urllib.request.urlopen(rebound)
    refused.value.close()
    master.start()
    wait_for("a relay that is ready", lambda: ready(relay)[0] == 200)
    assert ready(relay)[1] == {
        "ready": True,
        "conditions": "snapshot,link,lag:30s",
        "reasons": [],
    }
    master.kill()
    wait_for("a relay that is not", lambda: ready(relay)[0] == 503)
    assert [reason["condition"] for reason in ready(relay)[1]["reasons"]] == ["link"]
    STATUS.validate(relay.status())


def test_ready_as_long_as_a_replica_can_be_served(lab: Lab) -> None:
    """Also without a snapshot, as long as one can be fetched: found by a pod never ready again."""
    master = lab.server(PROGRAM, "master", start=False)
    limits = {"store_retain_bytes": "256kb", "store_pin_limit_bytes": "256kb"}
    relay = lab.relay(master, store_segment_bytes="64kb", **limits)
    relay.wait_ready()
    assert ready(relay)[0] == 503
    master.restart()
    wait_for("a relay that is ready", lambda: ready(relay)[0] == 200)
    relay.wait_link()
    for _ in range(16):
        master.call("SET", "key", "x" * 65_536)
    wait_for("the snapshot is let go", lambda: not relay.snapshots())
    assert ready(relay)[0] == 200
    master.kill()
    wait_for("a relay that is not", lambda: ready(relay)[0] == 503)
    (reason,) = ready(relay)[1]["reasons"]
    assert reason["condition"] == "serve"
    master.restart()
    wait_for("a relay that is ready again", lambda: ready(relay)[0] == 200)
    replica = lab.server(PROGRAM, "replica", upstream=relay)
    replica.wait_link()
    wait_same(master, replica)
    master.kill()
    wait_for("the link is down", lambda: not relay.link_up)
    assert ready(relay)[0] == 200  # it has a snapshot


def test_answers_are_as_documented(lab: Lab) -> None:
    """In each phase of a relay's life, with all that can be in a status."""
    master = lab.master(PROGRAM, repl_diskless_sync_delay=1)
    load = Load(master, features=master.flavour.features)
    load.write(300)
    audit, nowhere = lab.directory / "audit.jsonl", lab.directory / "none" / "x"
    relay = lab.relay(
        master,
        sink=f"file:{audit},sink=audit file:{nowhere},sink=broken",
        listen_transfer_rate_bytes="25kb",  # ten seconds, to be seen in one of them
    )
    relay.wait_ready()
    STATUS.validate(relay.status())
    replica = lab.server(PROGRAM, "replica", upstream=relay)
    seen = set()
    with load:

        def phases() -> bool:
            status = relay.status()
            STATUS.validate(status)
            seen.update(each["state"] for each in status["replicas"])
            return "online" in seen

        wait_for("the replica is online", phases)
    assert "send_bulk" in seen
    replica.kill()
    wait_for("its end", lambda: relay.status()["recent_disconnects"])
    STATUS.validate(relay.status())


def test_events_of_a_day(lab: Lab) -> None:
    """All that happens to a relay is told, in order, and told again to who comes back."""
    master = lab.master(PROGRAM)
    relay = lab.relay(master)
    relay.wait_link()
    with events(relay) as told:
        until(told, kind="start")
        until(told, kind="resync", side="upstream", type="full")
        replica = lab.server(PROGRAM, "replica", upstream=relay)
        online = until(told, kind="replica", state="online")
        assert online["subject"] == f"127.0.0.1:{replica.port}"
        replica.kill()
        gone = until(told, kind="disconnect", subject=online["subject"])
        assert gone["level"] == "error"
        assert gone["detail"]["reason"] in ("closed", "connection_lost")
    master.kill()
    with events(relay, gone["id"]) as told:
        broke = next(told)
        assert (broke["kind"], broke["level"], broke["subject"]) == ("link", "error", "upstream")
        master.start()
        until(told, kind="link", state="connected")
    with events(relay) as told:
        ids = [next(told)["id"] for _ in range(3)]
        assert [name.partition("-")[2] for name in ids] == ["1", "2", "3"]


def test_a_stop_waits_for_nobody_who_listens(lab: Lab) -> None:
    master = lab.master(PROGRAM)
    relay = lab.relay(master)
    relay.wait_link()
    with events(relay) as told, socket.create_connection(("127.0.0.1", relay.http_port)) as deaf:
        deaf.sendall(b"GET /api/events HTTP/1.1\r\nHost: x\r\n\r\n")
        until(told, kind="link", state="connected")
        assert relay.stop() == 0
        for _ in told:  # it ends
            pass
    assert "Traceback" not in relay.log
