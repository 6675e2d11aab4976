"""What happened between two looks at a relay, as events for people. Pure: no clock, no I/O.

Events come out of counters and states that exist anyway, so they cost the relay nothing where the
stream flows; what came and went between two looks is still in the counters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from repltap.endings import DisconnectReason
from repltap.status.link import LinkState
from repltap.status.relay import RelayStatus
from repltap.status.replicas import DisconnectStatus, ReplicaState
from repltap.status.sinks import SinkState, SinkStatus


class EventKind(Enum):
    """What an event is about; a kind that has been published keeps its name."""

    START = "start"  # of the relay
    LINK = "link"  # the link to the master changed its state, or broke
    REPOINTED = "repointed"  # another master is followed
    SENTINEL = "sentinel"  # those that name the master are all away, or one is back
    RESYNC = "resync"  # one was granted, to us or by us
    HISTORY = "history"  # the replid that is served changed
    SNAPSHOT = "snapshot"  # another one was asked for, arrived, or failed to
    REPLICA = "replica"  # one came, or went on to its next state
    DISCONNECT = "disconnect"  # a replica went
    SINK = "sink"  # one changed its state, or lost something
    ACCESS = "access"  # logins failed
    RELOAD = "reload"  # secrets were read again, or could not be
    DISK = "disk"  # there is no more room, or room again; something stored is damaged


class EventLevel(Enum):
    """How much an event matters."""

    INFO = "info"
    WARNING = "warning"  # mends itself
    ERROR = "error"  # somebody or something is worse off now


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that an operator would tell a colleague.

    Attributes:
        at: When it happened or was noticed, Unix seconds.
        kind: What it is about.
        level: How much it matters.
        subject: Whom it concerns: `upstream`, `relay`, or the name of a replica or sink.
        text: A sentence for people.
        detail: The same for programs; the keys are documented by kind in docs/api.md.
    """

    at: float
    kind: EventKind
    level: EventLevel
    subject: str
    text: str
    detail: Mapping[str, str | int | None] = field(default_factory=dict)


_QUIET = {
    DisconnectReason.SNAPSHOT_ONLY.value: EventLevel.INFO,
    DisconnectReason.SHUTDOWN.value: EventLevel.INFO,
    DisconnectReason.NEW_REPLID.value: EventLevel.WARNING,
    DisconnectReason.NEW_HISTORY.value: EventLevel.WARNING,
    DisconnectReason.KILLED.value: EventLevel.WARNING,
}
"""Ends that are meant, or after which the replica comes back at once."""

_AWAY = (LinkState.CONNECT, LinkState.CONNECTING, LinkState.HANDSHAKE)
_LINK_TEXTS = {
    LinkState.CONNECTED: ("the stream from the master runs", EventLevel.INFO),
    LinkState.SYNC: ("a snapshot arrives from the master", EventLevel.WARNING),
    LinkState.PAUSED: ("reading from the master has stopped: no room", EventLevel.ERROR),
    LinkState.STOPPED: ("the link to the master has been closed", EventLevel.INFO),
}
_SINK_LEVELS = {
    SinkState.RETRYING: EventLevel.WARNING,
    SinkState.FAILED: EventLevel.ERROR,
    SinkState.RESTARTING: EventLevel.ERROR,
}
_MOST_AT_ONCE = 50
"""Replicas named in one look: a herd must not push everything else out of the history."""


def started(status: RelayStatus) -> Event:
    """Make the first event of a relay's life."""
    return Event(
        at=status.started_at,
        kind=EventKind.START,
        level=EventLevel.INFO,
        subject="relay",
        text=f"repltap {status.version} started",
        detail={"version": status.version, "run_id": status.run_id},
    )


def changes(before: RelayStatus, after: RelayStatus) -> tuple[Event, ...]:
    """Say what happened between two looks.

    Args:
        before: The earlier one.
        after: The later one, of the same process.

    Returns:
        The events; those of one subject in the order in which they happened.
    """
    return (
        *_link(before, after),
        *_sentinels(before, after),
        *_history(before, after),
        *_resyncs(before, after),
        *_snapshots(before, after),
        *_departures(before, after),
        *_replicas(before, after),
        *_sinks(before, after),
        *_disk(before, after),
        *_access(before, after),
    )


def _link(before: RelayStatus, after: RelayStatus) -> Iterator[Event]:
    old, new = before.upstream, after.upstream
    if (old.host, old.port) != (new.host, new.port):
        # The first that sentinels name takes nobody's place.
        first = not old.host
        text = f"{'a' if first else 'another'} master is followed: {new.address}"
        detail: dict[str, str | int | None] = {"host": new.host, "port": new.port}
        if new.sentinel is not None:
            by = new.sentinel.told_by
            text += (
                f", as Sentinel says: {', '.join(by)}"
                if by
                else ": the last known one; no sentinel answers"
            )
            detail["epoch"] = new.sentinel.epoch
        level = EventLevel.INFO if first else EventLevel.WARNING
        yield _event(after, EventKind.REPOINTED, level, "upstream", text, detail)
    broke = new.disconnects > old.disconnects or (
        old.state is LinkState.CONNECTED and new.state in _AWAY
    )
    new_reasons = _grown(before.counters.upstream_disconnects, after.counters.upstream_disconnects)
    # A master that is away fails every attempt alike: it is told once.
    if broke or (new.last_error != old.last_error and new.last_error and new_reasons):
        reason = next(iter(new_reasons), "other")
        what = "the link to the master broke" if broke else "the master can't be followed"
        text = f"{what}: {new.last_error or reason}"
        detail = {"state": new.state.value, "reason": reason}
        yield _event(after, EventKind.LINK, EventLevel.ERROR, "upstream", text, detail)
    came_back = new.connects > old.connects and new.state is LinkState.CONNECTED
    if new.state in _LINK_TEXTS and (new.state is not old.state or came_back):
        text, level = _LINK_TEXTS[new.state]
        if new.state is LinkState.SYNC and _is_first_sync(before, after):
            level = EventLevel.INFO
        detail = {"state": new.state.value}
        yield _event(after, EventKind.LINK, level, "upstream", text, detail)


def _sentinels(before: RelayStatus, after: RelayStatus) -> Iterator[Event]:
    old, new = before.upstream.sentinel, after.upstream.sentinel
    if old is None or new is None or bool(old.answering) == bool(new.answering):
        return
    away = not new.answering
    text = (
        "no sentinel answers: a failover would not be noticed, the present link stays"
        if away
        else "a sentinel answers again"
    )
    level = EventLevel.ERROR if away else EventLevel.INFO
    detail: dict[str, str | int | None] = {"answering": new.answering}
    yield _event(after, EventKind.SENTINEL, level, "upstream", text, detail)


def _history(before: RelayStatus, after: RelayStatus) -> Iterator[Event]:
    if before.journal is None or after.journal is None or before.replid == after.replid:
        return
    kept = after.journal.replid2 == before.replid
    text = f"the replication id is now {after.replid}" + ("" if kept else ": another history")
    detail: dict[str, str | int | None] = {"replid": after.replid, "before": before.replid}
    yield _event(after, EventKind.HISTORY, EventLevel.WARNING, "upstream", text, detail)


def _resyncs(before: RelayStatus, after: RelayStatus) -> Iterator[Event]:
    old, new = before.counters, after.counters
    info, warning = EventLevel.INFO, EventLevel.WARNING
    denied = ", ".join(_grown(old.sync_partial_err_by_reason, new.sync_partial_err_by_reason))
    # What a fresh relay and a replica that has nothing yet can't do without is nothing to warn of.
    above = info if _is_first_sync(before, after) else warning
    below = warning if denied else info
    for side, kind, count, level, text in (
        ("upstream", "full", new.upstream_sync_full - old.upstream_sync_full, above,
         "the master granted a full resync"),
        ("upstream", "partial", new.upstream_sync_partial_ok - old.upstream_sync_partial_ok, info,
         "the master granted a partial resync"),
        ("downstream", "full", new.sync_full - old.sync_full, below,
         "a replica gets a full resync"),
        ("downstream", "partial", new.sync_partial_ok - old.sync_partial_ok, info,
         "a replica got a partial resync"),
    ):  # fmt: skip
        if count <= 0:
            continue
        detail: dict[str, str | int | None] = {"side": side, "type": kind, "count": count}
        if (side, kind) == ("downstream", "full") and denied:
            detail["denied"] = denied
            text += f" (a partial one was not possible: {denied})"
        subject = "upstream" if side == "upstream" else "relay"
        times = f", {count} times" if count > 1 else ""
        yield _event(after, EventKind.RESYNC, level, subject, text + times, detail)


def _is_first_sync(before: RelayStatus, after: RelayStatus) -> bool:
    """Tell whether the master has given its first full resync to a relay that stored nothing."""
    counted = before.counters.upstream_sync_full, after.counters.upstream_sync_full
    return before.journal is None and counted == (0, 1)


def _snapshots(before: RelayStatus, after: RelayStatus) -> Iterator[Event]:
    old, new = before.refresh, after.refresh
    kind = EventKind.SNAPSHOT
    if after.counters.snapshot_refreshes > before.counters.snapshot_refreshes:
        text = "another snapshot has arrived"
        yield _event(after, kind, EventLevel.INFO, "upstream", text, {"phase": "stored"})
    if after.counters.snapshot_refresh_failures > before.counters.snapshot_refresh_failures:
        text = "another snapshot could not be fetched"
        yield _event(after, kind, EventLevel.WARNING, "upstream", text, {"phase": "failed"})
    if new is not None and (old is None or old.started_at != new.started_at):
        text = f"another snapshot is fetched ({new.reason.value})"
        detail: dict[str, str | int | None] = {"phase": "asked", "reason": new.reason.value}
        yield _event(after, kind, EventLevel.INFO, "upstream", text, detail)


def _departures(before: RelayStatus, after: RelayStatus) -> Iterator[Event]:
    count = sum(after.counters.replica_disconnects.values()) - sum(
        before.counters.replica_disconnects.values()
    )
    known = after.recent_disconnects[: max(0, count)]
    if count > len(known):
        text = f"{count - len(known)} more replicas went"
        detail: dict[str, str | int | None] = {"count": count - len(known)}
        yield _event(after, EventKind.DISCONNECT, EventLevel.ERROR, "relay", text, detail)
    for gone in reversed(known):
        yield _departure(gone)


def _departure(gone: DisconnectStatus) -> Event:
    return Event(
        at=gone.at,
        kind=EventKind.DISCONNECT,
        level=_QUIET.get(gone.reason, EventLevel.ERROR),
        subject=gone.replica,
        text=f"disconnected: {gone.detail or _reason(gone.reason)}",
        detail={"reason": gone.reason, "acked_offset": gone.acked_offset},
    )


def _reason(reason: str) -> str:
    if reason == DisconnectReason.CLOSED.value:
        return "closed by the replica"
    return reason.replace("_", " ")


_REPLICA_TEXTS = {
    ReplicaState.WAITING: "waits for a snapshot",
    ReplicaState.TRANSFER: "is sent a snapshot",
    ReplicaState.ONLINE: "is online",
}


def _replicas(before: RelayStatus, after: RelayStatus) -> Iterator[Event]:
    known = {replica.connection_id: replica.state for replica in before.replicas}
    moved = [r for r in after.replicas if known.get(r.connection_id) is not r.state]
    for replica in moved[:_MOST_AT_ONCE]:
        detail: dict[str, str | int | None] = {"state": replica.state.value}
        text = _REPLICA_TEXTS[replica.state]
        yield _event(after, EventKind.REPLICA, EventLevel.INFO, replica.name, text, detail)
    if len(moved) > _MOST_AT_ONCE:
        count = len(moved) - _MOST_AT_ONCE
        text = f"{count} more replicas changed their state"
        yield _event(after, EventKind.REPLICA, EventLevel.INFO, "relay", text, {"count": count})


def _sinks(before: RelayStatus, after: RelayStatus) -> Iterator[Event]:
    known = {sink.name: sink for sink in before.sinks}
    for sink in after.sinks:
        old = known.get(sink.name)
        if old is not None:
            yield from _sink(after, old, sink)


def _sink(after: RelayStatus, old: SinkStatus, sink: SinkStatus) -> Iterator[Event]:
    restarted = sink.restarts > old.restarts
    if sink.state is not old.state or restarted:
        level = _SINK_LEVELS.get(sink.state, EventLevel.INFO)
        wrong = level is not EventLevel.INFO or restarted
        text = f"{sink.state.value}" + (f": {sink.last_error}" if wrong and sink.last_error else "")
        if restarted and sink.state is not SinkState.RESTARTING:
            level, text = EventLevel.ERROR, f"its process was started again; {text}"
        detail: dict[str, str | int | None] = {"state": sink.state.value, "before": old.state.value}
        yield _event(after, EventKind.SINK, level, sink.name, text, detail)
    lost = sink.lost_bytes - old.lost_bytes
    if lost > 0:
        text = f"{lost} bytes were let go before they were delivered"
        yield _event(after, EventKind.SINK, EventLevel.ERROR, sink.name, text, {"lost_bytes": lost})


def _disk(before: RelayStatus, after: RelayStatus) -> Iterator[Event]:
    if after.disk_full != before.disk_full:
        text = "the disk or the quota is full" if after.disk_full else "there is room again"
        level = EventLevel.ERROR if after.disk_full else EventLevel.INFO
        detail: dict[str, str | int | None] = {"full": int(after.disk_full)}
        yield _event(after, EventKind.DISK, level, "relay", text, detail)
    damaged = _damaged(after) - _damaged(before)
    if damaged > 0:
        text = f"{damaged} stored files are damaged and are not served"
        yield _event(after, EventKind.DISK, EventLevel.ERROR, "relay", text, {"damaged": damaged})


def _access(before: RelayStatus, after: RelayStatus) -> Iterator[Event]:
    failure = after.login_failure
    if failure is not None and failure != before.login_failure:
        text = f"{failure.count} logins failed, the last from {failure.address}"
        found: dict[str, str | int | None] = {"address": failure.address, "count": failure.count}
        yield _event(after, EventKind.ACCESS, EventLevel.WARNING, "relay", text, found)
    for reload in after.reloads:
        if reload in before.reloads:
            continue
        level = EventLevel.ERROR if reload.error else EventLevel.INFO
        text = f"{reload.part}: " + (
            f"not reloaded: {reload.error}" if reload.error else f"reloaded: {reload.result}"
        )
        found = {"part": reload.part, "done": int(not reload.error)}
        yield _event(after, EventKind.RELOAD, level, "relay", text, found)


def _damaged(status: RelayStatus) -> int:
    check = status.journal.check if status.journal else None
    return check.damaged if check else 0


def _grown(before: Mapping[str, int], after: Mapping[str, int]) -> Iterable[str]:
    return [reason for reason, count in after.items() if count > before.get(reason, 0)]


def _event(
    status: RelayStatus,
    kind: EventKind,
    level: EventLevel,
    subject: str,
    text: str,
    detail: Mapping[str, str | int | None],
) -> Event:
    return Event(at=status.now, kind=kind, level=level, subject=subject, text=text, detail=detail)
