"""Limits: what a slow replica may cost, what ends it, and that nobody else feels it."""

from __future__ import annotations

import os
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.servers.bulk import write
from tests.servers.dataset import wait_same
from tests.servers.lab import Lab
from tests.servers.node import Node
from tests.servers.raw import RawReplica
from tests.servers.relay import Relay
from tests.servers.waiting import PATIENCE_SECONDS, wait_for

pytestmark = pytest.mark.relay_only

PROGRAM = "redis-7.0"
MB = 1 << 20


def _journal_files(relay: Relay) -> int:
    total = 0
    for path in relay.data_dir.rglob("journal/*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue  # deleted just then
    return total


def _gone(relay: Relay) -> list[dict[str, Any]]:
    return list(relay.status()["recent_disconnects"])


def _cpu_seconds(node: Node) -> float:
    fields = Path(f"/proc/{node.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_replica_that_reads_nothing_costs_disk_up_to_its_limit(lab: Lab) -> None:
    """Not memory, not time, and neither the master nor the other replica notices it."""
    master = lab.master(PROGRAM)
    relay = lab.relay(
        master,
        store_pin_limit_bytes="8mb",
        store_retain_bytes="2mb",
        store_segment_bytes="1mb",
        listen_timeout_seconds=3600,  # as if the hour had not passed: only bytes count
    )
    live = lab.server(PROGRAM, "live", upstream=relay)
    live.wait_link()
    wait_same(master, live)
    with RawReplica(relay.port, read_buffer_bytes=4096) as lazy:
        attached_at = relay.offset
        lazy.send(b"REPLCONF listening-port 7777\r\n")
        assert lazy.line() == b"+OK"
        lazy.send(f"PSYNC {relay.replid} {attached_at + 1}\r\n".encode())
        assert lazy.line().startswith(b"+CONTINUE")
        write(master, 4, keys=16)
        wait_same(master, live)
        memory, cpu = relay.memory_bytes(), _cpu_seconds(relay)
        time.sleep(2)  # real time is what it may not cost anything in
        assert _cpu_seconds(relay) - cpu < 0.5
        for _ in range(40):
            write(master, 1, keys=16)
            # The live one too: on a busy machine it is as slow as the lazy one otherwise.
            wait_for("all of it", lambda: relay.offset == master.offset == live.offset)
            # The limit, the segment that is deleted as a whole, and the one that is written; files
            # are deleted in a thread of their own, which a busy disk takes a while.
            wait_for("no more is kept", lambda: _journal_files(relay) < 12 * MB)
        wait_same(master, live)
        wait_for("it is dropped", lambda: _gone(relay))
        assert relay.memory_bytes() < memory + 8 * MB
        (gone,) = _gone(relay)
        assert (gone["replica"], gone["reason"]) == ("127.0.0.1:7777", "lag_bytes")
        assert "more than the limit of 8388608" in gone["detail"]
        assert relay.status()["counters"]["replica_disconnects"] == {"lag_bytes": 1}
        assert lazy.is_closed()
    wait_for("the journal shrinks", lambda: _journal_files(relay) < 5 * MB)
    first = relay.status()["journal"]["first_offset"]
    for offset, answer in ((attached_at, b"+FULLRESYNC"), (first, b"+CONTINUE")):
        with RawReplica(relay.port) as back:
            back.send(f"PSYNC {relay.replid} {offset + 1}\r\n".encode())
            assert back.line().startswith(answer)
    assert master.syncs.full <= 2  # the first sync, and a snapshot for who came back too late
    assert live.full_syncs_received == 1
    assert "Traceback" not in relay.log


def test_a_replica_that_lags_in_time(lab: Lab) -> None:
    """One that had caught up is dropped, and comes back by partial resync when it can."""
    master = lab.master(PROGRAM)
    # Replicas acknowledge once a second: the other one has to have the time to.
    relay = lab.relay(master, listen_max_lag_seconds=8)
    late, live = (lab.server(PROGRAM, name, upstream=relay) for name in ("late", "live"))
    for replica in (late, live):
        replica.wait_link()
    wait_same(master, late, live)
    wait_for("its ACK", lambda: _lags(relay, lambda lag: lag == 0))
    late.freeze()
    try:
        master.call("SET", "key", "value")
        wait_for("it is dropped", lambda: _gone(relay))
    finally:
        late.thaw()
    (gone,) = _gone(relay)
    assert (gone["replica"], gone["reason"]) == (f"127.0.0.1:{late.port}", "lag_seconds")
    late.wait_link()
    wait_same(master, late, live)
    assert (late.full_syncs_received, live.full_syncs_received) == (1, 1)
    assert late.partial_syncs_received == 1
    assert master.syncs.full == 1


def test_one_that_begins_far_behind_is_left_to_catch_up(lab: Lab) -> None:
    """The stored snapshot is older than the limit: that is no reason to drop who gets it."""
    # Once it has all, not even a PING is to be acknowledged in time.
    master = lab.master(PROGRAM, repl_ping_replica_period=3600)
    relay = lab.relay(master, listen_max_lag_seconds=3)
    relay.wait_link()
    write(master, 2, keys=16)
    wait_for("all of it", lambda: relay.offset == master.offset)
    time.sleep(4)  # the age of what it will be sent is real time
    replica = lab.server(PROGRAM, "replica", upstream=relay)
    replica.wait_link()
    wait_same(master, replica)
    wait_for("it has caught up", lambda: _lags(relay, lambda lag: lag == 0))
    assert _gone(relay) == []
    assert replica.full_syncs_received == 1
    assert master.syncs.full == 1


def test_metrics_of_a_real_relay(lab: Lab) -> None:
    """Both formats, through the parsers of Prometheus's own client."""
    master = lab.master(PROGRAM)
    relay = lab.relay(master)
    replica = lab.server(PROGRAM, "replica", upstream=relay)
    replica.wait_link()
    wait_same(master, replica)
    wait_for("its ACK", lambda: _lags(relay, lambda lag: lag == 0))
    url = f"http://127.0.0.1:{relay.http_port}/metrics"
    for accept, parser in (
        ("", parse),
        ("application/openmetrics-text; version=1.0.0", parse_openmetrics),
    ):
        request = urllib.request.Request(url, headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            text = answer.read().decode()
        found = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in parser(text)
            for sample in family.samples
        }
        name = (("replica", f"127.0.0.1:{replica.port}"),)
        assert found["repltap_downstream_lag_bytes", name] == 0
        assert found["repltap_downstream_offset_bytes", name] == master.offset
        assert found["repltap_upstream_up", ()] == 1
        assert found["repltap_journal_end_offset_bytes", ()] == master.offset
        assert found["process_resident_memory_bytes", ()] > MB


def _lags(relay: Relay, wanted: Callable[[float], bool]) -> bool:
    """Tell whether every replica has acknowledged something, and its lag in seconds is wanted."""
    lags = [replica["lag_seconds"] for replica in relay.status()["replicas"]]
    return bool(lags) and all(lag is not None and wanted(lag) for lag in lags)
