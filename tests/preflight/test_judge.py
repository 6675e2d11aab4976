"""What is made of a master's facts."""

import dataclasses

import pytest

from repltap.config import UpstreamConfig
from repltap.preflight.facts import CONFIG_GET, INFO, Facts, Rate
from repltap.preflight.finding import Finding, Level
from repltap.preflight.judge import judge

MIB = 1 << 20
CONFIG = UpstreamConfig(host="m", port=1)
LIMITS = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"
SETTINGS = {
    "repl-backlog-size": str(64 * MIB),
    "client-output-buffer-limit": LIMITS,
    "repl-timeout": "60",
    "repl-ping-replica-period": "10",
    "repl-diskless-sync": "yes",
    "repl-diskless-sync-delay": "5",
    "min-replicas-to-write": "0",
    "maxmemory": "0",
    "maxmemory-policy": "noeviction",
}
INFOS = {
    "role": "master",
    "cluster_enabled": "0",
    "connected_slaves": "2",
    "loading": "0",
    "used_memory": str(100 * MIB),
    "used_memory_rss": str(120 * MIB),
    "total_system_memory": str(8192 * MIB),
    "rdb_last_bgsave_time_sec": "-1",
}
FINE = Facts(
    server="redis",
    version=(7, 0, 15),
    info=INFOS,
    settings=SETTINGS,
    rate=Rate(float(MIB), True),
)


def find(check: str, facts: Facts = FINE, config: UpstreamConfig = CONFIG) -> Finding:
    (found,) = [one for one in judge(facts, config) if one.check == check]
    return found


def said(**settings: str) -> Facts:
    changed = {name.replace("_", "-"): value for name, value in settings.items()}
    return dataclasses.replace(FINE, settings=SETTINGS | changed)


def told(**info: str) -> Facts:
    return dataclasses.replace(FINE, info=INFOS | info)


def writing(mib_per_second: float, facts: Facts = FINE) -> Facts:
    return dataclasses.replace(facts, rate=Rate(mib_per_second * MIB, True))


def test_a_node_of_a_cluster_is_told_what_that_means() -> None:
    found = find("cluster", told(cluster_enabled="1"))
    assert found.level is Level.OK
    assert "this shard" in found.found
    assert "one relay for each shard" in found.advice


def test_nothing_is_wrong() -> None:
    assert {one.level for one in judge(FINE, CONFIG)} == {Level.OK}


def test_what_is_not_allowed_is_unknown_and_never_a_failure() -> None:
    refused = {INFO: "NOPERM info", CONFIG_GET: "NOPERM config"}
    found = judge(Facts(settings={}, refused=refused), CONFIG)
    assert {one.level for one in found} == {Level.UNKNOWN}
    by_name = {one.check: one for one in found}
    assert "+info" in by_name["dataset"].advice
    assert "+config|get" in by_name["repl-timeout"].advice
    assert by_name["repl-timeout"].found == "NOPERM config"


def test_what_a_server_does_not_say_is_unknown() -> None:
    assert {one.level for one in judge(Facts(settings={}), CONFIG)} == {Level.UNKNOWN}


@pytest.mark.parametrize(
    ("server", "version", "level", "text"),
    [
        ("redis", (6, 0, 16), Level.WARN, "Redis 6.0.16 is older"),
        ("redis", (6, 2, 0), Level.OK, "RDB 9"),
        ("redis", (7, 2, 4), Level.OK, "RDB 11"),
        ("redis", (8, 2, 3), Level.OK, "RDB 12"),
        ("redis", (8, 6, 2), Level.OK, "RDB 13"),
        ("redis", (9, 0, 0), Level.WARN, "newer"),
        ("valkey", (8, 1, 8), Level.OK, "RDB 11"),
        ("valkey", (9, 1, 2), Level.OK, "Valkey RDB 80"),
        ("valkey", (10, 0, 0), Level.WARN, "newer"),
        ("dragonfly", (1, 0, 0), Level.UNKNOWN, "what it is"),
    ],
)
def test_versions(server: str, version: tuple[int, int, int], level: Level, text: str) -> None:
    found = find("version", dataclasses.replace(FINE, server=server, version=version))
    assert found.level is level
    assert text in found.found


def test_roles() -> None:
    assert find("role").found == "a master with 2 replicas"
    assert find("role", told(loading="1")).level is Level.WARN
    assert find("role", told(role="slave", master_link_status="up")).level is Level.OK
    assert find("role", told(role="slave", master_link_status="down")).level is Level.FAIL


def test_a_backlog_is_measured_in_seconds_of_writes() -> None:
    assert "64 s" in find("repl-backlog-size").found
    small = find("repl-backlog-size", writing(2))
    assert small.level is Level.WARN
    assert "32 s" in small.found
    assert small.advice.startswith("CONFIG SET repl-backlog-size 240mb")
    assert find("repl-backlog-size", writing(0)).level is Level.OK
    tiny = find("repl-backlog-size", writing(0, said(repl_backlog_size="16384")))
    assert (tiny.level, "size 2mb" in tiny.advice) == (Level.WARN, True)


def test_a_backlog_that_only_info_tells() -> None:
    settings = {k: v for k, v in SETTINGS.items() if k != "repl-backlog-size"}
    facts = dataclasses.replace(told(repl_backlog_size="1048576"), settings=settings)
    assert "1mb" in find("repl-backlog-size", facts).found


def test_an_output_buffer_that_a_full_sync_passes() -> None:
    """100 MiB of memory take 2 s at 50 MiB/s; the last save may say more."""
    check = "client-output-buffer-limit"
    assert find(check, writing(30)).level is Level.OK
    assert find(check, writing(70)).level is Level.WARN  # 140 of 256 MiB
    failing = find(check, writing(140))
    assert failing.level is Level.FAIL
    assert failing.advice.startswith(
        'CONFIG SET client-output-buffer-limit "replica 840mb 840mb 60"'
    )
    slow = told(rdb_last_bgsave_time_sec="100")
    assert find(check, writing(4, slow)).level is Level.FAIL  # 400 MiB in 100 s


def test_a_soft_limit_counts_where_it_lasts() -> None:
    check = "client-output-buffer-limit"
    limits = LIMITS.replace("268435456", "0")
    slow = dataclasses.replace(said(client_output_buffer_limit=limits), info=INFOS)
    slow = dataclasses.replace(slow, info=INFOS | {"rdb_last_bgsave_time_sec": "200"})
    # At 1 MiB/s the 64 MiB are passed after 64 s, and for 136 s.
    assert find(check, writing(1, slow)).level is Level.FAIL
    assert find(check, writing(0.5, slow)).level is Level.FAIL  # after 128 s, for 72 s
    assert find(check, writing(0.4, slow)).level is Level.OK  # after 160 s, for 40 s
    none = said(client_output_buffer_limit=LIMITS.replace("268435456 67108864 60", "0 0 0"))
    assert find(check, writing(500, none)).level is Level.OK


def test_redis_7_never_has_a_hard_limit_below_its_backlog() -> None:
    check = "client-output-buffer-limit"
    large = writing(140, said(repl_backlog_size=str(1024 * MIB)))
    assert find(check, large).level is Level.OK
    old = dataclasses.replace(large, version=(6, 2, 5))
    assert find(check, old).level is Level.FAIL


@pytest.mark.parametrize("text", ["", "normal 0 0 0", "slave x y z", "slave 1 2"])
def test_limits_that_are_none(text: str) -> None:
    found = find("client-output-buffer-limit", said(client_output_buffer_limit=text))
    assert found.level is Level.UNKNOWN


def test_timeouts() -> None:
    assert find("repl-timeout", said(repl_timeout="5")).level is Level.WARN
    period = "repl-ping-replica-period"
    assert find(period, said(repl_ping_replica_period="30")).level is Level.WARN
    failing = find(period, said(repl_ping_replica_period="60"))
    assert failing.level is Level.FAIL
    assert (
        "CONFIG SET repl-ping-replica-period 20, or upstream.timeout_seconds = 180"
        in failing.advice
    )
    patient = dataclasses.replace(CONFIG, timeout_seconds=180)
    assert find(period, said(repl_ping_replica_period="60"), patient).level is Level.OK


def test_diskless() -> None:
    check = "repl-diskless-sync"
    assert "5 s after" in find(check).found
    assert find(check, said(repl_diskless_sync="no")).level is Level.OK
    assert find(check, said(repl_diskless_sync_delay="200")).level is Level.WARN


def test_min_replicas() -> None:
    found = find("min-replicas-to-write", said(min_replicas_to_write="2"))
    assert found.level is Level.WARN
    assert "CONFIG SET min-replicas-to-write 3" in found.advice


def test_memory() -> None:
    assert (
        "evicted keys"
        in find("maxmemory", said(maxmemory="1000", maxmemory_policy="allkeys-lru")).found
    )
    assert "writes fail" in find("maxmemory", said(maxmemory="1000")).found
    assert find("fork-memory", told(used_memory_rss=str(5000 * MIB))).level is Level.WARN


def test_a_rate_that_is_an_upper_bound_is_said_so() -> None:
    found = find("write-rate", dataclasses.replace(FINE, rate=Rate(5.0, False)))
    assert found.found.startswith("at most 5 a second")
