"""What Prometheus gets to see, through the parsers that Prometheus's own client ships."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)

from repltap.endings import DisconnectReason, FailureReason
from repltap.metrics import RelayCollector
from repltap.position import Offset
from repltap.protocol.replconf import ReplicaInfo, answer_replconf
from repltap.status.counters import Counters
from repltap.status.link import LinkState, SyncProgress
from repltap.status.relay import RelayStatus
from repltap.status.replicas import ReplicaState, ReplicaStatus
from repltap.status.sentinel import SentinelSeen, SentinelState, SentinelStatus
from repltap.status.sinks import SinkState, SinkStatus
from tests.net.admin.fakes import NOW, REPLID, journal, relay_status, replica, upstream
from tests.scraped import names, one, read, registry_of, scrape


def test_sentinels() -> None:
    seen = [
        SentinelSeen(address=f"10.0.1.{n}:26379", configured=True, state=state)
        for n, state in enumerate([SentinelState.ANSWERING, SentinelState.ANSWERING,
                                   SentinelState.AWAY])
    ]  # fmt: skip
    named = SentinelStatus(master_name="m", sentinels=tuple(seen), epoch=4, switches=2)
    found = scrape(relay_status(upstream=upstream(sentinel=named)))
    assert one(found, "sentinels", state="answering") == 2
    assert one(found, "sentinels", state="away") == 1
    assert one(found, "sentinel_switches_total") == 2
    assert one(found, "sentinel_epoch") == 4
    assert not {name for name in names(scrape(relay_status())) if "sentinel" in name}


def test_a_relay_at_work() -> None:
    counters = Counters(
        sync_full=2,
        sync_partial_ok=5,
        sync_partial_err=1,
        upstream_sync_full=1,
        upstream_sync_partial_ok=3,
        snapshot_refreshes=4,
        snapshot_refreshes_by_reason={"tail": 3, "age": 1},
        snapshot_refresh_failures=7,
        sync_partial_err_by_reason={"not_retained": 1},
        net_repl_input_bytes=1000,
        upstream_snapshot_bytes=400,
        journal_fsyncs=9,
        journal_fsync_seconds=0.5,
        replica_disconnects={"lag_bytes": 2},
        upstream_disconnects={"timeout": 6},
        upstream_partial_denied=12,
        stored_damaged=2,
    )
    found = scrape(
        relay_status(
            counters=counters,
            quota_bytes=1 << 30,
            file_system_free_bytes=7 << 30,
            stored_bytes=9000,
            quota_usable_bytes=1 << 29,
        )
    )
    assert one(found, "build_info", version="0.1.0") == 1
    assert one(found, "upstream_info", source="127.0.0.1:6379", version="7.0.15", replid=REPLID)
    expected = {
        "upstream_up": 1,
        "upstream_offset_bytes": 5050,
        "upstream_acked_offset_bytes": 4900,
        "upstream_durable_offset_bytes": 5000,
        "upstream_last_io_timestamp_seconds": NOW - 2,
        "upstream_connects_total": 3,
        "snapshot_size_bytes": 123_456_789,
        "snapshot_age_seconds": 7200,
        "snapshot_refresh_failures_total": 7,
        "journal_first_offset_bytes": 50,
        "journal_end_offset_bytes": 5050,
        "journal_disk_bytes": 8192,
        "journal_fsync_seconds_count": 9,
        "journal_fsync_seconds_sum": 0.5,
        "disk_free_bytes": 7 << 30,
        "store_disk_bytes": 9000,
        "store_damaged_total": 2,
        "journal_retain_bytes": 1 << 20,
        "quota_bytes": 1 << 30,
        "quota_usable_bytes": 1 << 29,
    }
    assert {name: one(found, name) for name in expected} == expected
    assert one(found, "upstream_received_bytes_total", phase="snapshot") == 400
    assert one(found, "upstream_received_bytes_total", phase="stream") == 600
    assert one(found, "full_resyncs_total", side="upstream") == 1
    assert one(found, "full_resyncs_total", side="downstream") == 2
    assert one(found, "partial_resyncs_total", side="upstream") == 3
    assert one(found, "partial_resyncs_total", side="downstream") == 5
    denied = "partial_resyncs_denied_total"
    assert one(found, denied, side="downstream", reason="not_retained") == 1
    assert one(found, denied, side="downstream", reason="ahead") == 0
    assert one(found, denied, side="upstream", reason="full_resync") == 12
    assert one(found, "downstream_disconnects_total", reason="lag_bytes") == 2
    assert one(found, "upstream_disconnects_total", reason="timeout") == 6
    assert one(found, "snapshot_refreshes_total", reason="tail") == 3
    assert one(found, "snapshot_refreshes_total", reason="schedule") == 0


def test_states_and_reasons_are_all_there() -> None:
    found = scrape(relay_status(upstream=upstream(state=LinkState.PAUSED)))
    for state in LinkState:
        shown = one(found, "upstream_state", state=state.value)
        assert shown == (1 if state is LinkState.PAUSED else 0)
    assert one(found, "upstream_up") == 0
    for reason in DisconnectReason:
        assert one(found, "downstream_disconnects_total", reason=reason.value) == 0
    for failure in FailureReason:
        assert one(found, "upstream_disconnects_total", reason=failure.value) == 0
    for role in ReplicaState:
        shown = one(found, "downstream_replicas", state=role.value)
        assert shown == (1 if role is ReplicaState.ONLINE else 0)


def test_replicas() -> None:
    begins = replica(
        connection_id=9,
        port=0,
        address="10.0.0.9:40000",
        state=ReplicaState.TRANSFER,
        acked_offset=None,
        lag_bytes=None,
        lag_seconds=None,
    )
    found = scrape(relay_status(replicas=(replica(), begins)))
    assert one(found, "downstream_offset_bytes", replica="127.0.0.1:21002") == 5000
    assert one(found, "downstream_lag_bytes", replica="127.0.0.1:21002") == 50
    assert one(found, "downstream_lag_seconds", replica="127.0.0.1:21002") == 0.25
    heard = "downstream_last_ack_timestamp_seconds"
    assert one(found, heard, replica="127.0.0.1:21002") == NOW - 1
    assert one(found, heard, replica="10.0.0.9:40000") == NOW - 1
    assert one(found, "downstream_offset_bytes", replica="10.0.0.9:40000") is None
    assert one(found, "downstream_lag_bytes", replica="10.0.0.9:40000") is None


def test_a_replica_that_came_back_before_its_old_connection_ended() -> None:
    """Two samples of the same labels would make Prometheus refuse everything."""
    old, new = replica(connection_id=8), replica(connection_id=10, acked_offset=Offset(5050))
    for shown in ((old, new), (new, old)):
        found = scrape(relay_status(replicas=shown))
        assert one(found, "downstream_offset_bytes", replica="127.0.0.1:21002") == 5050
        assert one(found, "downstream_replicas", state="online") == 2


def test_what_is_not_known_is_absent() -> None:
    link = upstream(
        state=LinkState.CONNECTING, last_io_at=None, acked_offset=None, server_version=""
    )
    found = names(scrape(relay_status(upstream=link, journal=None, replicas=())))
    assert {"upstream_up", "upstream_info", "build_info", "store_disk_bytes"} <= found
    assert not [name for name in found if name.startswith("journal_") and "fsync" not in name]
    assert (
        not {
            "upstream_offset_bytes",
            "upstream_acked_offset_bytes",
            "upstream_last_io_timestamp_seconds",
            "snapshot_bytes",
            "snapshot_age_seconds",
            "quota_bytes",
            "quota_usable_bytes",
            "disk_free_bytes",
        }
        & found
    )
    assert "snapshot_size_bytes" not in names(scrape(relay_status(journal=journal(snapshots=()))))


def test_a_snapshot_that_arrives() -> None:
    sync = SyncProgress(
        offset=Offset(0), total_bytes=None, received_bytes=250, started_at=NOW, last_io_at=NOW
    )
    assert one(scrape(relay_status(upstream=upstream(sync=sync))), "snapshot_bytes") == 250


@pytest.mark.parametrize(
    "status",
    [
        relay_status(),
        relay_status(journal=None, replicas=()),
        relay_status(replicas=(replica(ip='a"b\\c\nd'),)),  # what a peer announces is escaped
    ],
)
def test_openmetrics_is_well_formed(status: RelayStatus) -> None:
    text = generate_openmetrics(registry_of(status)).decode()
    families = list(parse_openmetrics(text))
    assert len({family.name for family in families}) == len(families)
    assert all(family.name.startswith("repltap_") for family in families)
    assert {f.unit for f in families if f.name.endswith("_bytes")} == {"bytes"}
    assert {f.unit for f in families if f.name.endswith("_seconds")} == {"seconds"}
    shown = {s.labels["replica"] for f in families for s in f.samples if "replica" in s.labels}
    assert shown == {each.name for each in status.replicas}


def test_registering_asks_for_nothing() -> None:
    def broken() -> RelayStatus:
        raise AssertionError("asked for the status")

    CollectorRegistry().register(RelayCollector(broken))


def test_lag_behind_the_master() -> None:
    shown = ("upstream_master_offset_bytes", "upstream_lag_bytes", "upstream_lag_seconds")
    link = upstream(master_offset=Offset(6000), lag_bytes=950, lag_seconds=1.5)
    found = scrape(relay_status(upstream=link))
    assert [one(found, name) for name in shown] == [6000, 950, 1.5]
    found = scrape(relay_status(upstream=upstream(master_offset_error="not allowed")))
    assert not set(shown) & names(found)


HOSTILE = (
    b'a"} 1\nrepltap_upstream_up 0 # {x="',
    b"\\" * 255,
    b"\xff\xfe\x00\x01\x7f\xc2\x80",
    "\u202e\U0001f600".encode(),
    b"ip,port=1\r\n# EOF\r\n",
)


def hostile_replica(number: int) -> ReplicaStatus:
    """What a peer says of itself comes through the protocol, as it does in a session."""
    said = ReplicaInfo()
    text = HOSTILE[number % len(HOSTILE)]
    args = [b"REPLCONF", b"ip-address", b"%d%b" % (number, text[:250]), b"listening-port", b"6379"]
    assert answer_replconf(said, args) == b"+OK\r\n"
    return replica(connection_id=number, ip=said.ip_address or "", port=said.listening_port)


def test_a_thousand_hostile_replicas_and_many_sinks() -> None:
    """Well-formed for all readers, and no more series than the documentation says."""
    sinks = tuple(
        SinkStatus(
            name=f"sink{number}",
            type="file",
            state=SinkState.STREAMING,
            committed_offset=1,
            lag_bytes=1,
            lag_seconds=1.0,
        )
        for number in range(32)
    )
    replicas = tuple(hostile_replica(number) for number in range(1000))
    own = relay_status(replicas=(), quota_bytes=1, quota_usable_bytes=1, file_system_free_bytes=1)
    registry = registry_of(replace(own, replicas=replicas, sinks=sinks))
    text = generate_latest(registry).decode()
    found = read(text)
    assert len(scrape(own)) <= 100
    assert len(found) == len(scrape(own)) + 4 * 1000 + 21 * 32
    assert {dict(labels)["replica"] for _, labels in found if dict(labels).get("replica")} == {
        each.name for each in replicas
    }
    assert one(found, "upstream_up") == 1
    families = list(parse_openmetrics(generate_openmetrics(registry).decode()))
    assert sum(len(family.samples) for family in families) == len(found)
    if promtool := shutil.which("promtool"):
        done = subprocess.run(
            [promtool, "check", "metrics"], input=text.encode(), capture_output=True, check=False
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, b"")
