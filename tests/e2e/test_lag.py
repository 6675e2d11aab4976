"""Lag in seconds, as Prometheus gets it: right by an injected delay, and never absurd."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.proxy import Action, Direction, Fault
from tests.servers.relay import Relay
from tests.servers.waiting import PATIENCE_SECONDS, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.relay_only]

PROGRAM = "redis-7.0"
POLL_SECONDS = 0.25
# The journal's index has a time each 50 ms.
SLACK_SECONDS = 0.5
UPSTREAM = "repltap_upstream_lag_"
REPLICA = "repltap_downstream_lag_"
SINK = "repltap_sink_lag_"
UNITS = ("bytes", "seconds")


def metrics(relay: Relay) -> dict[str, float]:
    """The samples of `/metrics`; of several with one name the largest."""
    with urllib.request.urlopen(
        f"http://127.0.0.1:{relay.http_port}/metrics", timeout=PATIENCE_SECONDS
    ) as answer:
        text = answer.read().decode()
    found: dict[str, float] = {}
    for family in parse(text):
        for sample in family.samples:
            found[sample.name] = max(sample.value, found.get(sample.name, sample.value))
    return found


def within(
    relay: Relay, name: str, seconds: float, began: float, late: float
) -> Callable[[], bool]:
    """A probe that a lag has grown to so much, and is right.

    Args:
        relay: Whose metrics.
        name: The metric.
        seconds: What it is to grow to.
        began: Before the first byte that is missing was written.
        late: When the relay knew of it.
    """

    def probe() -> bool:
        asked = time.monotonic()
        shown = metrics(relay).get(name)
        answered = time.monotonic()
        if shown is None or shown < seconds:
            return False
        assert shown <= answered - began
        assert shown >= asked - late - SLACK_SECONDS
        return True

    return probe


def test_of_a_replica_and_a_sink(lab: Lab) -> None:
    """What goes to them is stalled for seconds; no key is written to measure that."""
    master = lab.master(PROGRAM, repl_ping_replica_period=3600)
    target = lab.master(PROGRAM, "target")
    to_target = lab.proxy(target)
    sink = f"redis:redis://127.0.0.1:{to_target.port},sink=mirror"
    relay = lab.relay(master, upstream_poll_seconds=POLL_SECONDS, sink=sink)
    relay.wait_link()
    to_relay = lab.proxy(relay)
    replica = lab.server(PROGRAM, "replica", upstream=to_relay)
    replica.wait_ready()
    replica.wait_link()
    master.call("SET", "key", "value")
    everybody = (UPSTREAM, REPLICA, SINK)

    def caught_up() -> bool:
        found = metrics(relay)
        return all(found.get(f"{name}{unit}") == 0 for name in everybody for unit in UNITS)

    wait_for("everybody has everything", caught_up)
    to_target.weather.stall()
    to_relay.weather.stall()
    began = time.monotonic()
    master.call("SET", "key", "other")
    wait_for("the relay has it", lambda: relay.offset == master.offset)
    late = time.monotonic()
    for seconds in (0.5, 2.0):
        for name in (REPLICA, SINK):
            what = f"{name}seconds"
            wait_for(f"{what} of {seconds}", within(relay, what, seconds, began, late))
    found = metrics(relay)
    assert found[REPLICA + "bytes"] == found[SINK + "bytes"] > 0
    assert found[UPSTREAM + "seconds"] == 0
    to_target.weather.clear()
    to_relay.weather.clear()
    wait_for("everybody has everything again", caught_up)
    assert master.call("DBSIZE") == 1


def test_of_a_link_that_is_delayed(lab: Lab) -> None:
    """For a time, by a proxy: the lag grows with it and is gone with it, on the same link."""
    master = lab.master(PROGRAM, repl_ping_replica_period=3600)
    gate = threading.Event()
    delay = Fault(
        direction=Direction.TO_CLIENT, action=Action.DELAY, at=b"delay-here", gate=gate, count=1
    )
    relay = lab.relay(lab.proxy(master, delay), upstream_poll_seconds=POLL_SECONDS)
    relay.wait_link()
    name = UPSTREAM + "seconds"
    wait_for("the lag is known", lambda: metrics(relay).get(name) == 0)
    began = time.monotonic()
    master.call("SET", "key", "delay-here and then more")
    wait_for("the poll has seen it", lambda: metrics(relay).get(UPSTREAM + "bytes"))
    late = time.monotonic()
    for seconds in (0.5, 1.5):
        wait_for(f"{seconds} s of lag", within(relay, name, seconds, began, late))
    gate.set()
    wait_for("the delay is over", lambda: metrics(relay).get(name) == 0)
    assert relay.status()["upstream"]["connects"] == 1


@contextmanager
def sampled(relay: Relay) -> Iterator[list[dict[str, float]]]:
    """Scrape as often as it goes."""
    found: list[dict[str, float]] = []
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            found.append(metrics(relay))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def more(load: Load) -> None:
    """Let it write for a while."""
    until = load.written + 200
    wait_for("some writes", lambda: load.written >= until)


def test_never_absurd(lab: Lab) -> None:
    """Whatever becomes of the master: it restarts without its history, another is followed."""
    master = lab.master(PROGRAM)
    other = lab.master(PROGRAM, "other")
    far = lab.server(PROGRAM, "far", upstream=other)  # so that its offset counts
    far.wait_ready()
    far.wait_link()
    for _ in range(50):
        other.call("SET", "key", "x" * 1_000_000)
    sink = f"file:{lab.directory}/sink.jsonl"
    relay = lab.relay(master, upstream_poll_seconds=0.1, sink=sink)
    relay.wait_link()
    replica = lab.server(PROGRAM, "replica", upstream=relay)
    replica.wait_ready()
    replica.wait_link()
    wait_for("the sink has begun", lambda: SINK + "seconds" in metrics(relay))
    began = time.monotonic()
    with sampled(relay) as found:
        # So slow that a sink which gets no CPU for a while has little to catch up with.
        with Load(master, features=master.flavour.features, pause_seconds=0.02) as load:
            more(load)
            master.call("DEBUG", "CHANGE-REPL-ID")
            master.drop_replicas()
            wait_for("a full resync", lambda: relay.replid == master.replid)
            more(load)
        relay.follow(other)  # an offset of fifty million
        wait_for("the other history", lambda: relay.replid == other.replid)
        other.call("SET", "key", "value")
        wait_for("the replica has it", lambda: replica.offset >= other.offset)
        relay.follow(master)
        wait_for("the history before", lambda: relay.replid == master.replid)
        master.call("SET", "key", "value")
        wait_for("the replica has it too", lambda: replica.replid == master.replid)
        for name in (UPSTREAM, REPLICA, SINK):
            wait_for(name, lambda name=name: any(name + "seconds" in sample for sample in found))  # type: ignore[misc]
    longest = time.monotonic() - began + SLACK_SECONDS
    assert len(found) > 20
    for name in (UPSTREAM, REPLICA, SINK):
        seconds = [sample[name + "seconds"] for sample in found if name + "seconds" in sample]
        size = [sample[name + "bytes"] for sample in found if name + "bytes" in sample]
        assert seconds, name
        assert 0 <= min(seconds) <= max(seconds) <= longest, name
        # A sink reads the histories before to their ends.
        assert 0 <= min(size) <= max(size) < 10_000_000, name
