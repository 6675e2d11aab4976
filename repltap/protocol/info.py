"""The text of INFO and the reply of ROLE, out of a `RelayStatus`.

Pure. Names and order are Redis 7.0's `genRedisInfoString` for a replica; a field is there only
when its value is known and true of a relay: Redis's fields about forks, AOF, scripts, allocators
and rates are left out rather than filled in. Zeros for keys, expiry and evictions are true: a
relay has none. A section of our own, `# Repltap`, comes last.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from repltap.protocol import reply
from repltap.status.link import LinkState
from repltap.status.relay import RelayStatus
from repltap.status.replicas import ReplicaState, ReplicaStatus
from repltap.status.sinks import SinkStatus

REDIS_VERSION = "7.2.4"
"""The Redis whose commands we speak like; Valkey says the same for the same reason: clients pick
features by it, and 7.2 is the last version both lines share."""

_Fields = Iterator[tuple[str, object]]
_Section = tuple[str, Callable[[RelayStatus], _Fields]]

_ONLY_ON_REQUEST = frozenset(("commandstats", "latencystats"))
"""What `INFO` without arguments leaves out (Redis `genInfoSectionDict`)."""

_ROLE_STATES: Mapping[LinkState, str] = {
    # Redis knows no pause: reading stopped means that nothing is received, so it is not connected.
    LinkState.PAUSED: "connect",
    LinkState.STOPPED: "none",
}


def render_info(status: RelayStatus, sections: Sequence[str], *, system: str = "") -> str:
    """Write the text of INFO.

    Args:
        status: What to show.
        sections: Section names in any case, and `default`, `all`, `everything`; none at all means
            `default`. Unknown names add nothing, as in Redis.
        system: For the `os` field, as `uname -srm` writes it; "" leaves the field out.

    Returns:
        The sections in Redis's order, lines ended by CRLF, an empty line between sections.
    """
    wanted: set[str] = set()
    for name in (section.lower() for section in sections or ("default",)):
        wanted.update(_groups().get(name, {name}))
    renderers: dict[str, _Section] = {
        **_SECTIONS,
        "server": ("Server", partial(_server, system=system)),
    }
    return "\r\n".join(
        f"# {title}\r\n" + "".join(_line(field, value) for field, value in render(status))
        for name, (title, render) in renderers.items()
        if name in wanted
    )


def role_reply(status: RelayStatus) -> bytes:
    """Encode ROLE's reply: always that of a replica (Redis `roleCommand`)."""
    link = status.upstream.state
    # Redis shows the offset only while connected, though INFO goes on showing it.
    offset = status.offset if link is LinkState.CONNECTED else -1
    return reply.array(
        (
            reply.bulk("slave"),
            reply.bulk(status.upstream.host),
            reply.integer(status.upstream.port),
            reply.bulk(_ROLE_STATES.get(link, link.value)),
            reply.integer(offset),
        )
    )


def human_bytes(count: int) -> str:
    """Write a size as Redis's `bytesToHuman` does: 100B, 1.50K, 6.63M."""
    if count < 1024:
        return f"{count}B"
    value, suffix = count / 1024, "K"
    for larger in "MGTP":
        if value < 1024:
            break
        value, suffix = value / 1024, larger
    return f"{value:.2f}{suffix}"


def _groups() -> Mapping[str, set[str]]:
    # `everything` adds to `all` only what modules write themselves: nothing here.
    names = set(_SECTIONS)
    return {"default": names - _ONLY_ON_REQUEST, "all": names, "everything": names}


def _line(field: str, value: object) -> str:
    # Addresses and versions come from peers: a line break in one must not make a field.
    return f"{field}:{value}".translate(_LINE_BREAKS) + "\r\n"


_LINE_BREAKS = str.maketrans("\r\n", "  ")


def _server(status: RelayStatus, *, system: str = "") -> _Fields:
    uptime = max(0, int(status.now - status.started_at))
    yield "redis_version", REDIS_VERSION
    yield "server_name", "repltap"
    yield "repltap_version", status.version
    yield "redis_mode", "standalone"
    if system:
        yield "os", system
    yield "arch_bits", struct.calcsize("P") * 8
    yield "process_id", status.pid
    yield "run_id", status.run_id
    yield "tcp_port", status.listen_port
    yield "server_time_usec", int(status.now * 1_000_000)
    yield "uptime_in_seconds", uptime
    yield "uptime_in_days", uptime // 86400
    # From Redis 7.2 on (`genRedisInfoString`).
    host, _, port = status.listen_tls.rpartition(":")
    listeners = [f"name=tls,bind={host.strip('[]')},port={port}"] if port else []
    if port != str(status.listen_port):
        listeners.insert(0, f"name=tcp,bind={status.listen_host},port={status.listen_port}")
    for number, listener in enumerate(listeners):
        yield f"listener{number}", listener


def _clients(status: RelayStatus) -> _Fields:
    # Redis counts replicas apart (connected_slaves).
    yield "connected_clients", max(0, status.clients - len(status.replicas))
    yield "cluster_connections", 0
    yield "maxclients", status.max_clients
    yield "blocked_clients", 0
    yield "tracking_clients", 0


def _memory(status: RelayStatus) -> _Fields:
    # There is no allocator to ask: what the process holds resident is what it uses.
    used, peak = status.rss_bytes, status.peak_rss_bytes
    yield "used_memory", used
    yield "used_memory_human", human_bytes(used)
    yield "used_memory_rss", used
    yield "used_memory_rss_human", human_bytes(used)
    yield "used_memory_peak", peak
    yield "used_memory_peak_human", human_bytes(peak)
    if peak:
        yield "used_memory_peak_perc", f"{used / peak:.2%}"
    yield "used_memory_dataset", 0
    yield "maxmemory", 0
    yield "maxmemory_human", "0B"
    yield "maxmemory_policy", "noeviction"
    # The backlog is on the disk.
    yield "mem_replication_backlog", 0


def _persistence(status: RelayStatus) -> _Fields:
    yield "loading", 0
    yield "async_loading", 0
    yield "rdb_bgsave_in_progress", 0
    if status.journal and status.journal.snapshots:
        newest = max(snapshot.created_at for snapshot in status.journal.snapshots)
        yield "rdb_last_save_time", int(newest)
    yield "aof_enabled", 0


def _stats(status: RelayStatus) -> _Fields:
    counters = status.counters
    yield "total_connections_received", counters.connections_received
    yield "total_commands_processed", counters.commands_processed
    yield "total_net_input_bytes", counters.net_input_bytes
    yield "total_net_output_bytes", counters.net_output_bytes
    yield "total_net_repl_input_bytes", counters.net_repl_input_bytes
    yield "total_net_repl_output_bytes", counters.net_repl_output_bytes
    yield "rejected_connections", counters.connections_rejected
    yield "sync_full", counters.sync_full
    yield "sync_partial_ok", counters.sync_partial_ok
    yield "sync_partial_err", counters.sync_partial_err
    for nothing_of in (
        "expired_keys",
        "evicted_keys",
        "evicted_clients",
        "keyspace_hits",
        "keyspace_misses",
        "latest_fork_usec",
        "total_forks",
        "slave_expires_tracked_keys",
    ):
        yield nothing_of, 0
    yield "acl_access_denied_auth", counters.login_failures  # the last, since Redis 7.2


def _replication(status: RelayStatus) -> _Fields:
    yield "role", "slave"
    yield from _master_link(status)
    # Priority 0 keeps Sentinel from ever promoting a relay.
    yield "slave_priority", 0
    yield "slave_read_only", 1
    yield "replica_announced", 1
    yield "connected_slaves", len(status.replicas)
    for index, replica in enumerate(status.replicas):
        yield f"slave{index}", _replica(replica, status.now)
    yield "master_failover_state", "no-failover"
    yield "master_replid", status.replid
    journal = status.journal
    if journal is None:
        yield "master_replid2", status.replid
        yield "master_repl_offset", 0
        yield "second_repl_offset", -1
        yield from _backlog(active=0, size_bytes=0, first_byte=0, length=0)
        return
    yield "master_replid2", journal.replid2
    yield "master_repl_offset", journal.end_offset
    yield "second_repl_offset", journal.second_offset
    yield from _backlog(
        active=1,
        # Redis shows the configured size. Ours is limited by the disk: show what it takes there.
        size_bytes=journal.retain_bytes,
        # Redis's own numbering is 1-based here.
        first_byte=journal.first_offset + 1,
        length=journal.end_offset - journal.first_offset,
    )


def _master_link(status: RelayStatus) -> _Fields:
    upstream = status.upstream
    up = upstream.state is LinkState.CONNECTED
    yield "master_host", upstream.host
    yield "master_port", upstream.port
    yield "master_link_status", "up" if up else "down"
    yield (
        "master_last_io_seconds_ago",
        _age(status.now, upstream.last_io_at) if up else -1,
    )
    yield "master_sync_in_progress", int(upstream.sync is not None)
    # Received and applied are one for a relay: it applies nothing.
    yield "slave_read_repl_offset", status.offset
    yield "slave_repl_offset", status.offset
    if sync := upstream.sync:
        # Redis shows total 0 and what is left below zero when the master streams with an end mark.
        total = sync.total_bytes or 0
        yield "master_sync_total_bytes", total
        yield "master_sync_read_bytes", sync.received_bytes
        yield "master_sync_left_bytes", total - sync.received_bytes
        yield "master_sync_perc", f"{100 * sync.received_bytes / total if total else 0:.2f}"
        yield "master_sync_last_io_seconds_ago", _age(status.now, sync.last_io_at)
    if not up:
        yield "master_link_down_since_seconds", _age(status.now, upstream.down_since)


def _replica(replica: ReplicaStatus, now: float) -> str:
    # Redis shows a lag only for a replica that is online.
    lag = _age(now, replica.last_ack_at) if replica.state is ReplicaState.ONLINE else 0
    return (
        f"ip={replica.ip},port={replica.port},state={replica.state.value},"
        f"offset={replica.acked_offset or 0},lag={lag}"
    )


def _backlog(*, active: int, size_bytes: int, first_byte: int, length: int) -> _Fields:
    yield "repl_backlog_active", active
    yield "repl_backlog_size", size_bytes
    yield "repl_backlog_first_byte_offset", first_byte
    yield "repl_backlog_histlen", length


def _cpu(status: RelayStatus) -> _Fields:
    yield "used_cpu_sys", f"{status.cpu_system_seconds:.6f}"
    yield "used_cpu_user", f"{status.cpu_user_seconds:.6f}"


def _cluster(_status: RelayStatus) -> _Fields:
    yield "cluster_enabled", 0


def _empty(_status: RelayStatus) -> _Fields:
    yield from ()


def _repltap(status: RelayStatus) -> _Fields:
    upstream, counters = status.upstream, status.counters
    yield "upstream_state", upstream.state.value
    yield "upstream_version", upstream.server_version
    yield "upstream_connects", upstream.connects
    yield "upstream_disconnects", upstream.disconnects
    yield "upstream_sync_full", counters.upstream_sync_full
    yield "upstream_sync_partial_ok", counters.upstream_sync_partial_ok
    if upstream.acked_offset is not None:
        yield "upstream_acked_offset", upstream.acked_offset
    if status.journal:
        yield "journal_first_offset", status.journal.first_offset
        yield "journal_end_offset", status.journal.end_offset
        yield "journal_durable_offset", status.journal.durable_offset
        yield "journal_disk_bytes", status.journal.disk_bytes
        for index, snapshot in enumerate(status.journal.snapshots):
            yield (
                f"snapshot{index}",
                (
                    f"offset={snapshot.offset},bytes={snapshot.size_bytes},"
                    f"format={snapshot.format},age={_age(status.now, snapshot.created_at)},"
                    f"tail={snapshot.tail_bytes}"
                ),
            )
    yield from _consumers(status)
    yield "snapshot_refreshes", counters.snapshot_refreshes
    for side, counts in (
        ("replica_disconnects", counters.replica_disconnects),
        ("upstream_disconnect_reasons", counters.upstream_disconnects),
        ("snapshot_refresh_reasons", counters.snapshot_refreshes_by_reason),
    ):
        yield side, ",".join(f"{reason}={count}" for reason, count in sorted(counts.items()))
    yield "snapshot_refresh_failures", counters.snapshot_refresh_failures
    if refresh := status.refresh:
        yield (
            "snapshot_refresh",
            (
                f"reason={refresh.reason.value},"
                f"offset={-1 if refresh.offset is None else refresh.offset},"
                f"received={refresh.received_bytes},"
                f"total={-1 if refresh.total_bytes is None else refresh.total_bytes},"
                f"waiters={refresh.waiters},receivers={refresh.receivers}"
            ),
        )
    yield "disk_free_bytes", status.disk_free_bytes
    yield "disk_full", int(status.disk_full)


def _consumers(status: RelayStatus) -> _Fields:
    # Redis's `lag` in slaveN is the age of the last ACK; here is how far behind that replica is.
    for index, replica in enumerate(status.replicas):
        if replica.lag_bytes is not None and replica.lag_seconds is not None:
            behind = f"lag_bytes={replica.lag_bytes},lag_seconds={replica.lag_seconds:.3f}"
            yield f"replica{index}", f"id={replica.connection_id},{behind}"
    yield "sinks", len(status.sinks)
    for index, sink in enumerate(status.sinks):
        yield f"sink{index}", _sink(sink)


def _sink(sink: SinkStatus) -> str:
    lag_seconds = -1.0 if sink.lag_seconds is None else sink.lag_seconds
    return (
        f"name={sink.name},state={sink.state.value},"
        f"committed={-1 if sink.committed_offset is None else sink.committed_offset},"
        f"lag_bytes={-1 if sink.lag_bytes is None else sink.lag_bytes},"
        f"lag_seconds={lag_seconds:.3f},records={sink.records},"
        f"errors={sum(sink.errors.values())},restarts={sink.restarts}"
    )


def _age(now: float, then: float | None) -> int:
    """Give whole seconds since `then`, -1 for never, as Redis does."""
    return -1 if then is None else max(0, int(now - then))


_SECTIONS: Mapping[str, _Section] = {
    "server": ("Server", _server),
    "clients": ("Clients", _clients),
    "memory": ("Memory", _memory),
    "persistence": ("Persistence", _persistence),
    "stats": ("Stats", _stats),
    "replication": ("Replication", _replication),
    "cpu": ("CPU", _cpu),
    "modules": ("Modules", _empty),
    "commandstats": ("Commandstats", _empty),
    "errorstats": ("Errorstats", _empty),
    "latencystats": ("Latencystats", _empty),
    "cluster": ("Cluster", _cluster),
    "keyspace": ("Keyspace", _empty),
    "repltap": ("Repltap", _repltap),
}
