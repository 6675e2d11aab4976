"""What a master's facts mean for a relay with this configuration. Pure: numbers in, findings out.

How long a snapshot takes is a guess, and said as one: the time of the master's last background
save, or its memory at a pace that a modest disk or network keeps up, whichever is more.
"""

from __future__ import annotations

from repltap.config import UpstreamConfig
from repltap.preflight.facts import CONFIG_GET, INFO, Facts
from repltap.preflight.finding import Finding, Level, redis_size
from repltap.values import AckKind

SNAPSHOT_BYTES_PER_SECOND = 50 << 20

_MINUTE = 60
_MIN_BACKLOG_BYTES = 1 << 20
_PINGS = 3  # as many may be lost before a link should be taken for dead
_TESTED = {"redis": ((6, 2, 0), (8, 7, 0)), "valkey": ((8, 0, 0), (9, 2, 0))}  # from, below
_FORMATS = {
    "redis": (
        ((8, 6, 0), "RDB 13"),
        ((7, 4, 0), "RDB 12"),
        ((7, 2, 0), "RDB 11"),
        ((7, 0, 0), "RDB 10"),
        ((0, 0, 0), "RDB 9"),
    ),
    "valkey": (((9, 0, 0), "Valkey RDB 80"), ((0, 0, 0), "RDB 11")),
}
_ALLOW = "ACL SETUSER {} +{} lets us see it; or look yourself"


def judge(facts: Facts, config: UpstreamConfig) -> list[Finding]:
    """Say what the facts mean.

    Args:
        facts: What the master told.
        config: How it will be followed.

    Returns:
        Findings in a fixed order, one for each check: `unknown` where a fact is missing.
    """
    return [
        _server(facts),
        _role(facts),
        _cluster(facts),
        _dataset(facts),
        _write_rate(facts),
        _backlog(facts),
        _output_buffer(facts),
        _repl_timeout(facts),
        _ping_period(facts, config),
        _diskless(facts, config),
        _min_replicas(facts, config),
        _eviction(facts),
        _fork_memory(facts),
    ]


def _server(facts: Facts) -> Finding:
    if facts.server not in _TESTED or facts.version is None:
        return Finding("version", Level.UNKNOWN, "the server does not say what it is")
    name = f"{facts.server.capitalize()} {'.'.join(map(str, facts.version))}"
    oldest, newest = _TESTED[facts.server]
    written = next(text for since, text in _FORMATS[facts.server] if facts.version >= since)
    if facts.version < oldest:
        return Finding("version", Level.WARN, f"{name} is older than what repltap is tested with")
    if facts.version >= newest:
        return Finding(
            "version",
            Level.WARN,
            f"{name} is newer than what repltap is tested with",
            "its snapshots may be of a format that sinks can't read; relaying does not need to",
        )
    return Finding("version", Level.OK, f"{name}, whose snapshots are {written}")


def _role(facts: Facts) -> Finding:
    if facts.info is None:
        return _unknown("role", facts, INFO)
    if facts.info.get("loading", "0") != "0":
        return Finding("role", Level.WARN, "it is loading its data", "the relay waits for that")
    if facts.info.get("role") == "master":
        replicas = facts.info.get("connected_slaves", "?")
        noun = "replica" if replicas == "1" else "replicas"
        return Finding("role", Level.OK, f"a master with {replicas} {noun}")
    if facts.info.get("master_link_status") != "up":
        return Finding(
            "role",
            Level.FAIL,
            "a replica whose link to its own master is down: it refuses PSYNC",
            "bring that link up, or follow another server",
        )
    return Finding("role", Level.OK, "a replica of another server, as good as a master")


def _cluster(facts: Facts) -> Finding:
    enabled = (facts.info or {}).get("cluster_enabled")
    if enabled is None:
        return _unknown("cluster", facts, INFO)
    if enabled == "0":
        return Finding("cluster", Level.OK, "not a node of a cluster")
    return Finding(
        "cluster",
        Level.OK,
        "a node of a cluster: the relay gets the slots of this shard, and serves standalone "
        "replicas",
        "run one relay for each shard, and point it at the shard's new master after a failover "
        "(REPLICAOF): it does not ask the cluster who that is",
    )


def _dataset(facts: Facts) -> Finding:
    used = facts.used_memory_bytes
    if used is None:
        return _unknown("dataset", facts, INFO)
    seconds = _snapshot_seconds(facts)
    return Finding(
        "dataset",
        Level.OK,
        f"{redis_size(used)} of memory; a snapshot is smaller, and takes some {seconds:.0f} s",
    )


def _write_rate(facts: Facts) -> Finding:
    if facts.rate is None:
        return _unknown("write-rate", facts, INFO)
    rate = redis_size(facts.rate.bytes_per_second)
    if facts.rate.exact:
        return Finding("write-rate", Level.OK, f"{rate} a second in its replication stream")
    return Finding(
        "write-rate",
        Level.OK,
        f"at most {rate} a second, of all that clients send: without a replica it counts no stream",
    )


def _backlog(facts: Facts) -> Finding:
    check = "repl-backlog-size"
    size = facts.setting(check)
    if size is None:
        size = facts.number("repl_backlog_size")
    if size is None:
        return _unknown(check, facts, CONFIG_GET)
    if facts.rate is None:
        return Finding(check, Level.UNKNOWN, f"{redis_size(size)}, and the write rate is not known")
    rate = facts.rate.bytes_per_second
    wanted = max(_MIN_BACKLOG_BYTES, rate * _MINUTE)
    reach = f"an outage of {size / rate:.0f} s" if rate * 86400 > size else "more than a day"
    found = f"{redis_size(size)} bridge {reach} at the write rate seen"
    if size >= wanted:
        return Finding(check, Level.OK, found)
    return Finding(
        check,
        Level.WARN,
        f"{found}; a longer one costs a full sync",
        f"CONFIG SET {check} {redis_size(2 * wanted)} (or more) bridges two minutes",
    )


def _output_buffer(facts: Facts) -> Finding:
    check = "client-output-buffer-limit"
    limits = _replica_limits(facts.settings.get(check))
    if limits is None:
        return _unknown(check, facts, CONFIG_GET)
    hard, soft, soft_seconds = limits
    if hard and (facts.version or (0, 0, 0)) >= (7, 0, 0):
        hard = max(hard, facts.setting("repl-backlog-size") or 0)  # Redis 7: never below it
    shown = f"replica {redis_size(hard)} {redis_size(soft)} {soft_seconds}"
    if facts.rate is None or facts.used_memory_bytes is None:
        return Finding(check, Level.UNKNOWN, f"{shown}, and dataset or write rate are not known")
    seconds, rate = _snapshot_seconds(facts), facts.rate.bytes_per_second
    gathered = rate * seconds
    over_soft = bool(soft) and gathered > soft and seconds - soft / rate > soft_seconds
    found = f"{shown}; some {redis_size(gathered)} gather while a snapshot is sent"
    wanted = redis_size(max(3 * gathered, 64 << 20))
    advice = f'CONFIG SET {check} "replica {wanted} {wanted} {soft_seconds}" (or more)'
    if (hard and gathered > hard) or over_soft:
        why = "the master would cut every full sync off, over and over"
        return Finding(check, Level.FAIL, f"{found}: {why}", advice)
    if hard and 2 * gathered > hard:
        return Finding(check, Level.WARN, f"{found}: little is left for a busy hour", advice)
    return Finding(check, Level.OK, found)


def _replica_limits(text: str | None) -> tuple[int, int, int] | None:
    """Read `... slave HARD SOFT SECONDS ...` (6.2 and later say slave, too)."""
    words = (text or "").split()
    for name, *numbers in zip(words[::4], words[1::4], words[2::4], words[3::4], strict=False):
        if name in ("slave", "replica") and all(number.isdigit() for number in numbers):
            hard, soft, seconds = map(int, numbers)
            return hard, soft, seconds
    return None


def _repl_timeout(facts: Facts) -> Finding:
    check = "repl-timeout"
    seconds = facts.setting(check)
    if seconds is None:
        return _unknown(check, facts, CONFIG_GET)
    if seconds < 10:
        advice = f"CONFIG SET {check} 60; with less a short pause of the network ends the link"
        return Finding(check, Level.WARN, f"{seconds} s; the relay answers each second", advice)
    return Finding(check, Level.OK, f"{seconds} s; the relay answers each second")


def _ping_period(facts: Facts, config: UpstreamConfig) -> Finding:
    check = "repl-ping-replica-period"
    period, limit = facts.setting(check), config.timeout_seconds
    if period is None:
        return _unknown(check, facts, CONFIG_GET)
    found = f"{period} s, and the relay takes {limit:g} s of silence for a dead link"
    fits = max(1, int(limit / _PINGS))
    advice = (
        f"CONFIG SET {check} {fits}, or upstream.timeout_seconds = {_PINGS * period} (or more) here"
    )
    if period >= limit:
        return Finding(check, Level.FAIL, f"{found}: every idle moment ends it", advice)
    if _PINGS * period > limit:
        return Finding(check, Level.WARN, found, advice)
    return Finding(check, Level.OK, found)


def _diskless(facts: Facts, config: UpstreamConfig) -> Finding:
    check = "repl-diskless-sync"
    diskless, delay = facts.settings.get(check), facts.setting(f"{check}-delay")
    if diskless is None:
        return _unknown(check, facts, CONFIG_GET)
    if diskless != "yes":
        found = "no: the master writes a snapshot to its own disk, then sends it"
        return Finding(check, Level.OK, found, "it needs room there for one more RDB file")
    if delay is None:
        return Finding(check, Level.OK, "yes")
    found = f"yes: a snapshot begins {delay} s after the relay asks"
    if delay >= config.transfer_timeout_seconds:
        limit = f"{config.transfer_timeout_seconds:g}"
        advice = (
            f"CONFIG SET {check}-delay 5, or upstream.transfer_timeout_seconds = {2 * delay} here"
        )
        return Finding(check, Level.WARN, f"{found}, which waits for {limit} s", advice)
    return Finding(check, Level.OK, found)


def _min_replicas(facts: Facts, config: UpstreamConfig) -> Finding:
    check = "min-replicas-to-write"
    least = facts.setting(check)
    if least is None:
        return _unknown(check, facts, CONFIG_GET)
    if least == 0:
        return Finding(check, Level.OK, "0: not in use")
    if config.ack_policy.kind is AckKind.QUORUM:
        found = f"{least}, and the relay counts only with {config.ack_policy.replicas} below it"
        return Finding(check, Level.OK, found)
    return Finding(
        check,
        Level.WARN,
        f"{least}, and the relay counts as a replica: writes go on with one real replica less",
        "upstream.ack_policy = quorum:1 here: it counts once a replica below it has the write. Or "
        f"CONFIG SET {check} {least + 1}, if the relay is to be one more (this stays then)",
    )


def _eviction(facts: Facts) -> Finding:
    check = "maxmemory"
    limit, policy = facts.setting(check), facts.settings.get("maxmemory-policy", "")
    if limit is None:
        return _unknown(check, facts, CONFIG_GET)
    if limit == 0:
        return Finding(check, Level.OK, "no limit")
    if policy == "noeviction":
        return Finding(check, Level.OK, f"{redis_size(limit)}, noeviction: writes fail when full")
    return Finding(
        check,
        Level.OK,
        f"{redis_size(limit)}, {policy}: evicted keys arrive as DEL or UNLINK, like deleted ones",
    )


def _fork_memory(facts: Facts) -> Finding:
    check = "fork-memory"
    used, total = facts.number("used_memory_rss"), facts.number("total_system_memory")
    if used is None or not total:
        return _unknown(check, facts, INFO)
    found = f"{redis_size(used)} in use of {redis_size(total)}"
    if 2 * used > total:
        return Finding(
            check,
            Level.WARN,
            f"{found}: a snapshot forks, and what is written meanwhile is copied",
            "take the first sync in a quiet hour; vm.overcommit_memory = 1 lets the fork begin",
        )
    return Finding(check, Level.OK, f"{found}: room for the fork of a snapshot")


def _snapshot_seconds(facts: Facts) -> float:
    used = facts.used_memory_bytes or 0
    last = facts.number("rdb_last_bgsave_time_sec") or 0
    return max(float(last), used / SNAPSHOT_BYTES_PER_SECOND, 1.0)


def _unknown(check: str, facts: Facts, command: str) -> Finding:
    if said := facts.refused.get(command):
        return Finding(check, Level.UNKNOWN, said, _ALLOW.format(facts.user, command))
    return Finding(check, Level.UNKNOWN, "the server does not say")
