"""INFO and ROLE against Redis 7.0's names, order and meanings."""

import pytest

from repltap.position import Offset
from repltap.protocol.info import human_bytes, render_info, role_reply
from repltap.status.counters import Counters
from repltap.status.link import LinkState, SyncProgress
from repltap.status.refresh import RefreshReason, RefreshStatus
from repltap.status.relay import RelayStatus
from repltap.status.replicas import ReplicaState
from tests.net.admin.fakes import NOW, REPLID, REPLID2, relay_status, replica, upstream

# `INFO everything` of redis-server 7.0.15 running as a replica, the fields a relay shows too,
# in its order.
REDIS_ORDER = {
    "Server": (
        "redis_version redis_mode os arch_bits process_id run_id tcp_port server_time_usec"
        " uptime_in_seconds uptime_in_days"
    ),
    "Clients": "connected_clients cluster_connections maxclients blocked_clients tracking_clients",
    "Memory": (
        "used_memory used_memory_human used_memory_rss used_memory_rss_human used_memory_peak"
        " used_memory_peak_human used_memory_peak_perc used_memory_dataset maxmemory"
        " maxmemory_human maxmemory_policy mem_replication_backlog"
    ),
    "Persistence": "loading async_loading rdb_bgsave_in_progress rdb_last_save_time aof_enabled",
    "Stats": (
        "total_connections_received total_commands_processed total_net_input_bytes"
        " total_net_output_bytes total_net_repl_input_bytes total_net_repl_output_bytes"
        " rejected_connections sync_full sync_partial_ok sync_partial_err expired_keys"
        " evicted_keys evicted_clients keyspace_hits keyspace_misses latest_fork_usec total_forks"
        " slave_expires_tracked_keys acl_access_denied_auth"
    ),
    "Replication": (
        "role master_host master_port master_link_status master_last_io_seconds_ago"
        " master_sync_in_progress slave_read_repl_offset slave_repl_offset slave_priority"
        " slave_read_only replica_announced connected_slaves slave0 master_failover_state"
        " master_replid master_replid2 master_repl_offset second_repl_offset repl_backlog_active"
        " repl_backlog_size repl_backlog_first_byte_offset repl_backlog_histlen"
    ),
    "CPU": "used_cpu_sys used_cpu_user",
    "Modules": "",
    "Commandstats": "",
    "Errorstats": "",
    "Latencystats": "",
    "Cluster": "cluster_enabled",
    "Keyspace": "",
}
OURS = {"server_name", "repltap_version", "listener0"}


def parse(text: str) -> dict[str, dict[str, str]]:
    """Read INFO's text as strictly as it is written."""
    found: dict[str, dict[str, str]] = {}
    for section in text.split("\r\n\r\n") if text else []:
        title, *lines = section.removesuffix("\r\n").split("\r\n")
        assert title.startswith("# ")
        found[title[2:]] = dict(line.split(":", 1) for line in lines)
    return found


def replication(status: RelayStatus) -> dict[str, str]:
    return parse(render_info(status, ["replication"]))["Replication"]


def test_names_and_order_are_those_of_redis() -> None:
    found = parse(render_info(relay_status(), ["everything"], system="Linux 6 x86_64"))
    assert found.pop("Repltap")
    order = {
        title: [name for name in fields if name not in OURS] for title, fields in found.items()
    }
    assert order == {title: names.split() for title, names in REDIS_ORDER.items()}
    assert list(order) == list(REDIS_ORDER)


@pytest.mark.parametrize(
    ("sections", "titles"),
    [
        ([], [*REDIS_ORDER, "Repltap"]),
        (["default"], [*REDIS_ORDER, "Repltap"]),
        (["ALL"], [*REDIS_ORDER, "Repltap"]),
        (["everything"], [*REDIS_ORDER, "Repltap"]),
        (["Keyspace", "cpu"], ["CPU", "Keyspace"]),
        (["default", "commandstats"], [*REDIS_ORDER, "Repltap"]),
        (["nosuch"], []),
    ],
)
def test_sections(sections: list[str], titles: list[str]) -> None:
    expected = [*titles]
    if sections in ([], ["default"], ["default", "commandstats"]):
        expected.remove("Latencystats")
        if "commandstats" not in sections:
            expected.remove("Commandstats")
    assert list(parse(render_info(relay_status(), sections))) == expected


def test_listeners_of_ipv6_are_named_without_brackets() -> None:
    """As Redis does, whose `bind` has none."""
    status = relay_status(listen_host="::1", listen_port=6390, listen_tls="[::1]:6391")
    server = parse(render_info(status, ["server"]))["Server"]
    assert server["listener0"] == "name=tcp,bind=::1,port=6390"
    assert server["listener1"] == "name=tls,bind=::1,port=6391"


def test_no_section_is_no_text() -> None:
    assert render_info(relay_status(), ["nosuch"]) == ""


def test_wire_form() -> None:
    text = render_info(relay_status(), ["modules", "cpu"])
    assert text == ("# CPU\r\nused_cpu_sys:0.250000\r\nused_cpu_user:1.500000\r\n\r\n# Modules\r\n")


def test_replication_of_a_link_that_is_up() -> None:
    found = replication(relay_status())
    assert found["role"] == "slave"
    assert found["master_link_status"] == "up"
    assert found["master_last_io_seconds_ago"] == "2"
    assert found["slave_repl_offset"] == found["master_repl_offset"] == "5050"
    assert found["slave_priority"] == "0"
    assert found["slave0"] == "ip=127.0.0.1,port=21002,state=online,offset=5000,lag=1"
    assert (found["master_replid"], found["master_replid2"]) == (REPLID, REPLID2)
    assert found["second_repl_offset"] == "101"
    # Redis counts the first byte from 1: 50 bytes are gone, the 51st is the first that is held.
    assert found["repl_backlog_first_byte_offset"] == "51"
    assert found["repl_backlog_histlen"] == "5000"
    assert "master_link_down_since_seconds" not in found


@pytest.mark.parametrize("state", [each for each in LinkState if each is not LinkState.CONNECTED])
def test_a_link_that_is_not_up_is_never_called_up(state: LinkState) -> None:
    found = replication(relay_status(upstream=upstream(state=state, down_since=NOW - 33)))
    assert found["master_link_status"] == "down"
    assert found["master_last_io_seconds_ago"] == "-1"
    assert found["master_link_down_since_seconds"] == "33"
    # As Redis shows the cached master's offset.
    assert found["slave_repl_offset"] == "5050"


def test_never_up_and_nothing_held() -> None:
    link = upstream(state=LinkState.CONNECT, down_since=None, last_io_at=None, acked_offset=None)
    found = replication(relay_status(upstream=link, journal=None, replicas=()))
    assert found["master_link_down_since_seconds"] == "-1"
    assert found["master_replid"] == found["master_replid2"] == "0" * 40
    assert found["second_repl_offset"] == "-1"
    assert found["repl_backlog_active"] == found["repl_backlog_histlen"] == "0"
    assert found["connected_slaves"] == "0"
    assert "slave0" not in found


@pytest.mark.parametrize(
    ("total", "left", "share"), [(1000, "750", "25.00"), (None, "-250", "0.00")]
)
def test_a_snapshot_on_its_way(total: int | None, left: str, share: str) -> None:
    sync = SyncProgress(
        offset=Offset(1),
        total_bytes=total,
        received_bytes=250,
        started_at=NOW - 9,
        last_io_at=NOW - 3,
    )
    found = replication(relay_status(upstream=upstream(state=LinkState.SYNC, sync=sync)))
    assert found["master_sync_in_progress"] == "1"
    assert found["master_sync_total_bytes"] == str(total or 0)
    assert found["master_sync_read_bytes"] == "250"
    assert found["master_sync_left_bytes"] == left
    assert found["master_sync_perc"] == share
    assert found["master_sync_last_io_seconds_ago"] == "3"


def test_a_replica_in_transfer_has_no_lag_yet() -> None:
    waiting = replica(state=ReplicaState.TRANSFER, acked_offset=None, last_ack_at=NOW - 40)
    found = replication(relay_status(replicas=(waiting,)))
    assert found["slave0"] == "ip=127.0.0.1,port=21002,state=send_bulk,offset=0,lag=0"


def test_what_a_peer_said_cannot_make_a_field() -> None:
    liar = replica(ip="1.2.3.4\r\nrole:master")
    text = render_info(relay_status(replicas=(liar,)), ["replication"])
    assert "\r\nrole:master" not in text
    assert text.count("\n") == text.count("\r\n")


@pytest.mark.parametrize(
    ("state", "name", "offset"),
    [
        (LinkState.CONNECT, b"connect", -1),
        (LinkState.CONNECTING, b"connecting", -1),
        (LinkState.HANDSHAKE, b"handshake", -1),
        (LinkState.SYNC, b"sync", -1),
        (LinkState.CONNECTED, b"connected", 5050),
        (LinkState.PAUSED, b"connect", -1),
        (LinkState.STOPPED, b"none", -1),
    ],
)
def test_role(state: LinkState, name: bytes, offset: int) -> None:
    assert role_reply(relay_status(upstream=upstream(state=state))) == (
        b"*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:6379\r\n$%d\r\n%b\r\n:%d\r\n"
        % (len(name), name, offset)
    )


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (200, "200B"),
        (990672, "967.45K"),
        (6950912, "6.63M"),
        (25276514304, "23.54G"),
        (1 << 50, "1.00P"),
    ],
)
def test_human_bytes_as_redis_writes_them(count: int, text: str) -> None:
    assert human_bytes(count) == text


def test_lag_and_reasons_of_disconnects() -> None:
    counters = Counters(
        replica_disconnects={"lag_bytes": 2, "closed": 1}, upstream_disconnects={"timeout": 4}
    )
    shown = render_info(relay_status(counters=counters), ["repltap"])
    assert "replica0:id=8,lag_bytes=50,lag_seconds=0.250\r\n" in shown
    assert "replica_disconnects:closed=1,lag_bytes=2\r\n" in shown
    assert "upstream_disconnect_reasons:timeout=4\r\n" in shown
    assert "lag=1\r\n" in render_info(relay_status(), ["replication"])


def test_refreshes() -> None:
    counters = Counters(
        snapshot_refreshes=3,
        snapshot_refreshes_by_reason={"tail": 2, "age": 1},
        snapshot_refresh_failures=4,
    )
    refresh = RefreshStatus(
        reason=RefreshReason.TAIL,
        started_at=NOW,
        offset=Offset(7),
        received_bytes=8,
        waiters=2,
        receivers=1,
    )
    shown = render_info(relay_status(counters=counters, refresh=refresh), ["repltap"])
    assert "snapshot_refreshes:3\r\n" in shown
    assert "snapshot_refresh_reasons:age=1,tail=2\r\n" in shown
    assert "snapshot_refresh_failures:4\r\n" in shown
    assert (
        "snapshot_refresh:reason=tail,offset=7,received=8,total=-1,waiters=2,receivers=1\r\n"
    ) in shown
    assert "snapshot_refresh:" not in render_info(relay_status(), ["repltap"])
