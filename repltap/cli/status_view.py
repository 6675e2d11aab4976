"""A `RelayStatus` as a person reads it."""

from __future__ import annotations

from repltap.addresses import host_port
from repltap.cli.human import NOTHING, human_age, human_size
from repltap.cli.sections import Cell, Section, facts, row
from repltap.cli.status_sentinel import master_rows, sentinels
from repltap.cli.status_sinks import hand_sinks, sink_errors, sinks
from repltap.position import NO_REPLID
from repltap.status.certificates import EXPIRY_WARNING_SECONDS
from repltap.status.link import LinkState, UpstreamStatus
from repltap.status.relay import RelayStatus
from repltap.status.replicas import ReplicaState, ReplicaStatus
from repltap.status.store import CheckStatus

_DISCONNECTS_SHOWN = 8
"""`--json` has all that are remembered."""


def sections(status: RelayStatus) -> list[Section]:
    """Say everything there is to say, in the order in which an operator asks."""
    found = [_relay(status), _upstream(status)]
    if status.upstream.sentinel is not None:
        found.append(sentinels(status.upstream.sentinel, status.now))
    found.append(_journal(status))
    if status.journal and status.journal.snapshots:
        found.append(_snapshots(status))
    if status.replicas:
        found.append(_replicas(status))
    if status.sinks:
        found.append(sinks(status))
        found += sink_errors(status)
    if status.hand_sinks:
        found.append(hand_sinks(status))
    if status.recent_disconnects:
        found.append(_disconnects(status))
    return found


def _relay(status: RelayStatus) -> Section:
    free = human_size(status.disk_free_bytes)
    disk = Cell(f"{free} free")
    if status.quota_bytes is not None:
        # `disk_free_bytes` is the smaller of the two.
        disk = Cell(
            f"{free} left within the quota of {human_size(status.quota_bytes)} and the disk"
        )
    if status.disk_full:
        disk = Cell(f"{disk.text}: too little, reading has stopped", "bad")
    failed = [each for each in status.reloads if each.error]
    return facts(
        f"repltap {status.version}",
        ("listening", _listening(status)),
        ("up", human_age(status.now - status.started_at)),
        ("clients", f"{status.clients} of {status.max_clients}"),
        ("memory", f"{human_size(status.rss_bytes)}, peak {human_size(status.peak_rss_bytes)}"),
        ("data", status.data_dir),
        ("disk", disk),
        *_certificates(status),
        *((f"{each.part}", Cell(f"not reloaded: {each.error}", "bad")) for each in failed),
    )


def _listening(status: RelayStatus) -> str:
    plain = host_port(status.listen_host, status.listen_port)
    if not status.listen_tls:
        return plain
    secured = f"{status.listen_tls} (TLS)"
    return secured if status.listen_tls == plain else f"{plain}, {secured}"


def _certificates(status: RelayStatus) -> list[tuple[str, Cell]]:
    """Say when they end; soon is worth a colour."""
    rows = []
    for one in status.certificates:
        left = one.expires_at - status.now
        if left <= 0:
            cell = Cell(f"expired {human_age(-left)} ago: {one.file}", "bad")
        else:
            soon = left < EXPIRY_WARNING_SECONDS
            cell = Cell(f"ends in {human_age(left)}: {one.file}", "warn" if soon else "")
        rows.append((f"{one.side} TLS", cell))
    return rows


def _upstream(status: RelayStatus) -> Section:
    upstream = status.upstream
    rows: list[tuple[str, str | Cell]] = [
        *master_rows(upstream, status.now),
        *([("name", upstream.source)] if upstream.source else []),
        ("link", link_state(status)),
    ]
    if upstream.server_version:
        rows.append(("version", upstream.server_version))
    if upstream.last_io_at is not None:
        rows.append(("last byte", f"{human_age(status.now - upstream.last_io_at)} ago"))
    if sync := upstream.sync:
        rows.append(("snapshot", _progress(sync.received_bytes, sync.total_bytes)))
    if refresh := status.refresh:
        come = _progress(refresh.received_bytes, refresh.total_bytes)
        who = f"{refresh.waiters} wait, {refresh.receivers} receive it"
        rows.append(("refresh", f"{come}; {refresh.reason.value}; {who}"))
    elif failed := status.refresh_failure:
        left = failed.next_try_at - status.now
        again = f"again in {human_age(left)} if wanted" if left > 0 else "again when wanted"
        rows.append(("refresh", Cell(f"failed: {failed.message}; {again}", "warn")))
    rows += _master(upstream)
    if upstream.acked_offset is not None:
        rows.append(("acknowledged", f"{upstream.acked_offset} ({upstream.ack_policy})"))
    if upstream.last_error:
        tone = "" if upstream.state is LinkState.CONNECTED else "bad"
        rows.append(("last error", Cell(upstream.last_error, tone)))
    return facts("Upstream", *rows)


def _master(upstream: UpstreamStatus) -> list[tuple[str, str | Cell]]:
    """How far the master is ahead, or why that is not known."""
    if upstream.lag_bytes is not None and upstream.lag_seconds is not None:
        lag = human_size(upstream.lag_bytes)
        late = f", {upstream.lag_seconds:.1f}s" if upstream.lag_seconds else ""
        return [("lag", f"{lag}{late} (the master is at {upstream.master_offset})")]
    if upstream.master_offset_error:
        return [("lag", Cell(f"not known: {upstream.master_offset_error}", "warn"))]
    return []


def _progress(received_bytes: int, total_bytes: int | None) -> str:
    total = f" of {human_size(total_bytes)}" if total_bytes is not None else ""
    share = f" ({received_bytes / total_bytes:.0%})" if total_bytes else ""
    return f"{human_size(received_bytes)}{total}{share}"


def link_state(status: RelayStatus) -> Cell:
    """Say how the link to the master is."""
    upstream = status.upstream
    if upstream.state is LinkState.CONNECTED:
        since = "" if upstream.up_since is None else _for(status.now - upstream.up_since)
        return Cell(f"up{since}", "good")
    text = "not connected" if upstream.state is LinkState.CONNECT else upstream.state.value
    if upstream.state in (LinkState.PAUSED, LinkState.STOPPED):
        return Cell(text, "bad")
    if upstream.down_since is not None:
        text += f", down{_for(status.now - upstream.down_since)}"
    if upstream.next_try_at is not None:
        text += f", next try in {max(0.0, upstream.next_try_at - status.now):.1f}s"
    syncing = upstream.state is LinkState.SYNC
    return Cell(text, "warn" if syncing else "bad")


def _for(seconds: float) -> str:
    return f" for {human_age(seconds)}"


def _journal(status: RelayStatus) -> Section:
    journal = status.journal
    if journal is None:
        return facts("Journal", ("state", Cell("empty: no snapshot has been granted yet", "warn")))
    waiting = journal.end_offset - journal.durable_offset
    rows: list[tuple[str, str | Cell]] = [("replid", journal.replid)]
    if journal.replid2 != NO_REPLID:
        rows.append(("before", f"{journal.replid2} up to {journal.second_offset - 1}"))
    return facts(
        "Journal",
        *rows,
        (
            "offsets",
            (
                f"{journal.first_offset} to {journal.end_offset} "
                f"({human_size(journal.end_offset - journal.first_offset)})"
            ),
        ),
        ("synced", f"{journal.durable_offset} ({human_size(max(0, waiting))} to go)"),
        ("on disk", human_size(journal.disk_bytes)),
        *_check(journal.check),
    )


def _check(check: CheckStatus | None) -> list[tuple[str, Cell]]:
    """The background check, while it runs and when it has found something."""
    if check is None or (check.checked_bytes == check.total_bytes and not check.damaged):
        return []
    text = f"{human_size(check.checked_bytes)} of {human_size(check.total_bytes)}"
    if check.damaged:
        return [("checked", Cell(f"{text}, {check.damaged} damaged, given up", "bad"))]
    return [("checked", Cell(text))]


def _snapshots(status: RelayStatus) -> Section:
    assert status.journal
    return Section(
        "Snapshots",
        ("offset", "size", "format", "age", "tail"),
        tuple(
            row(
                str(each.offset),
                human_size(each.size_bytes),
                each.format,
                human_age(status.now - each.created_at),
                human_size(each.tail_bytes),
            )
            for each in status.journal.snapshots
        ),
        frozenset((0, 1, 3, 4)),
    )


def _replicas(status: RelayStatus) -> Section:
    return Section(
        f"Replicas ({len(status.replicas)})",
        ("replica", "state", "acked", "lag", "in time", "last ack", "version"),
        tuple(_replica(each, status.now) for each in status.replicas),
        frozenset((2, 3, 4, 5)),
        spare=(6, 5),  # version, last ack
    )


def _disconnects(status: RelayStatus) -> Section:
    total = sum(status.counters.replica_disconnects.values())
    return Section(
        f"Recent disconnects ({total} since the start)",
        ("replica", "ago", "acked", "why"),
        tuple(
            row(
                each.replica,
                human_age(status.now - each.at),
                NOTHING if each.acked_offset is None else str(each.acked_offset),
                each.detail or each.reason.replace("_", " "),
            )
            for each in status.recent_disconnects[:_DISCONNECTS_SHOWN]
        ),
        frozenset((1, 2)),
        folded=frozenset((0, 3)),
    )


def _replica(replica: ReplicaStatus, now: float) -> tuple[Cell, ...]:
    return (
        Cell(replica.name),
        replica_state(replica),
        Cell(NOTHING if replica.acked_offset is None else str(replica.acked_offset)),
        Cell(human_size(replica.lag_bytes)),
        Cell(human_age(replica.lag_seconds)),
        Cell(human_age(now - replica.last_ack_at)),
        Cell(replica.version or NOTHING),
    )


def replica_state(replica: ReplicaStatus) -> Cell:
    """Say how a replica is."""
    if replica.state is ReplicaState.ONLINE:
        return Cell("online", "good")
    if replica.state is ReplicaState.TRANSFER:
        if replica.snapshot_sent_bytes is not None and replica.snapshot_total_bytes:
            share = replica.snapshot_sent_bytes / replica.snapshot_total_bytes
            return Cell(f"snapshot {share:.0%}", "warn")
        return Cell("snapshot", "warn")
    place = f", place {replica.queue_position}" if replica.queue_position is not None else ""
    return Cell(f"waiting{place}", "warn")
