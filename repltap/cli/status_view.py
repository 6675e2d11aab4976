"""A `RelayStatus` as a person reads it: tables on a terminal, aligned text elsewhere.

Both are made from the same `Section`s, so they can't tell different things.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from repltap.position import NO_REPLID
from repltap.status import (
    CheckStatus,
    LinkState,
    RelayStatus,
    ReplicaState,
    ReplicaStatus,
    SinkState,
    SinkStatus,
    UpstreamStatus,
)

NOTHING = "-"

_DISCONNECTS_SHOWN = 8
"""`--json` has all that are remembered."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One value, and what it means for the operator: "good", "warn", "bad", or "" for neither."""

    text: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """One table.

    Attributes:
        title: Its heading.
        columns: Column headings; empty for a table of names and values.
        rows: The cells.
        right: Which columns hold numbers.
        folded: Which may be folded when the terminal is narrow: half a number misleads.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    right: frozenset[int] = frozenset()
    folded: frozenset[int] = frozenset((0,))


def human_size(count: int | None) -> str:
    """Write a size as people read it: `0 B`, `1.5 KiB`, `118 MiB`."""
    if count is None:
        return NOTHING
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        # 1023.95 and more would be rounded up to 1024.
        if abs(value) < 1023.95 or unit == "TiB":
            break
        value /= 1024
    if unit == "B" or value >= 99.95:
        return f"{value:.0f} {unit}"
    return f"{value:.1f} {unit}"


def human_age(seconds: float | None) -> str:
    """Write a duration in its two largest units: `0s`, `42s`, `3m 20s`, `2h 5m`, `3d 4h`."""
    if seconds is None:
        return NOTHING
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def sections(status: RelayStatus) -> list[Section]:
    """Say everything there is to say, in the order in which an operator asks."""
    found = [_relay(status), _upstream(status), _journal(status)]
    if status.journal and status.journal.snapshots:
        found.append(_snapshots(status))
    if status.replicas:
        found.append(_replicas(status))
    if status.sinks:
        found.append(_sinks(status))
        found += _sink_errors(status)
    if status.hand_sinks:
        found.append(_hand_sinks(status))
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
    return _facts(
        f"repltap {status.version}",
        ("listening", f"{status.listen_host}:{status.listen_port}"),
        ("up", human_age(status.now - status.started_at)),
        ("clients", f"{status.clients} of {status.max_clients}"),
        ("memory", f"{human_size(status.rss_bytes)}, peak {human_size(status.peak_rss_bytes)}"),
        ("data", status.data_dir),
        ("disk", disk),
    )


def _upstream(status: RelayStatus) -> Section:
    upstream = status.upstream
    rows: list[tuple[str, str | Cell]] = [
        ("master", f"{upstream.host}:{upstream.port}"),
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
    return _facts("Upstream", *rows)


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
        return _facts("Journal", ("state", Cell("empty: no snapshot has been granted yet", "warn")))
    waiting = journal.end_offset - journal.durable_offset
    rows: list[tuple[str, str | Cell]] = [("replid", journal.replid)]
    if journal.replid2 != NO_REPLID:
        rows.append(("before", f"{journal.replid2} up to {journal.second_offset - 1}"))
    return _facts(
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
            _row(
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
    )


def _disconnects(status: RelayStatus) -> Section:
    total = sum(status.counters.replica_disconnects.values())
    return Section(
        f"Recent disconnects ({total} since the start)",
        ("replica", "ago", "acked", "why"),
        tuple(
            _row(
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


def _sinks(status: RelayStatus) -> Section:
    return Section(
        f"Sinks ({len(status.sinks)})",
        ("sink", "type", "state", "committed", "lag", "in time", "records", "sent", "errors"),
        tuple(_sink(each, status.now) for each in status.sinks),
        frozenset((3, 4, 5, 6, 7, 8)),
        folded=frozenset((0, 2)),
    )


def _sink(sink: SinkStatus, now: float) -> tuple[Cell, ...]:
    return (
        Cell(sink.name),
        Cell(sink.type),
        sink_state(sink, now),
        Cell(NOTHING if sink.committed_offset is None else str(sink.committed_offset)),
        Cell(human_size(sink.lag_bytes)),
        Cell(human_age(sink.lag_seconds)),
        Cell(str(sink.records)),
        Cell(human_size(sink.sent_bytes)),
        Cell(str(sum(sink.errors.values()))),
    )


def sink_state(sink: SinkStatus, now: float) -> Cell:
    """Say how a sink is."""
    text = sink.state.value
    if sink.state is SinkState.STREAMING:
        return Cell(text, "good")
    if sink.state is SinkState.SNAPSHOT and sink.snapshot_records is not None:
        text = f"snapshot, {sink.snapshot_records} records"
    if sink.next_try_at is not None and sink.next_try_at > now:
        text += f", next try in {sink.next_try_at - now:.1f}s"
    bad = sink.state in (SinkState.RETRYING, SinkState.FAILED, SinkState.RESTARTING)
    return Cell(text, "bad" if bad else "warn")


def _sink_errors(status: RelayStatus) -> list[Section]:
    """What went wrong last, and what sinks will never get; where there is either."""
    rows = []
    for sink in status.sinks:
        if sink.last_error and sink.last_error_at is not None:
            ago = f"{human_age(status.now - sink.last_error_at)} ago"
            tone = "" if sink.state is SinkState.STREAMING else "bad"
            rows.append((Cell(sink.name), Cell(ago), Cell(sink.last_error, tone)))
        if sink.lost_bytes:
            lost = f"{human_size(sink.lost_bytes)} let go for want of room: a gap"
            rows.append((Cell(sink.name), Cell(NOTHING), Cell(lost, "bad")))
    if not rows:
        return []
    columns = ("sink", "when", "what")
    return [Section("Sinks: what went wrong last", columns, tuple(rows), folded=frozenset((0, 2)))]


def _hand_sinks(status: RelayStatus) -> Section:
    return Section(
        "Other sinks with a checkpoint",
        ("sink", "history", "offset", "saved", "kept for it"),
        tuple(
            _row(
                each.name,
                str(each.history_number),
                str(each.offset),
                f"{human_age(status.now - each.saved_at)} ago",
                human_size(each.pinned_bytes),
            )
            for each in status.hand_sinks
        ),
        frozenset((1, 2, 3, 4)),
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


def _facts(title: str, *rows: tuple[str, str | Cell]) -> Section:
    return Section(
        title,
        (),
        tuple(
            (Cell(name), value if isinstance(value, Cell) else Cell(value)) for name, value in rows
        ),
    )


def _row(*texts: str) -> tuple[Cell, ...]:
    return tuple(map(Cell, texts))


STYLES = {"good": "green", "warn": "yellow", "bad": "bold red", "": ""}


def as_tables(found: Sequence[Section]) -> RenderableType:
    """Make rich tables for a terminal; long values are folded, never cut off."""
    parts: list[RenderableType] = []
    for section in found:
        gap = "\n" if parts else ""
        parts += [Text(f"{gap}{section.title}", style="bold"), _table(section)]
    return Group(*parts)


def _table(section: Section) -> Table:
    table = Table(
        box=box.ROUNDED if section.columns else None,
        show_header=bool(section.columns),
        header_style="dim",
        border_style="dim",
        padding=(0, 1),
    )
    if not section.columns:
        table.add_column(style="dim", no_wrap=True, min_width=12)
        table.add_column(overflow="fold")
    for index, name in enumerate(section.columns):
        justify: JustifyMethod = "right" if index in section.right else "left"
        whole = index not in section.folded
        table.add_column(name, justify=justify, overflow="fold", no_wrap=whole)
    for row in section.rows:
        # `Text`, because what a peer said may look like rich's markup.
        table.add_row(*(Text(printable(cell.text), style=STYLES[cell.tone]) for cell in row))
    return table


def as_text(found: Sequence[Section]) -> str:
    """Make plain text with aligned columns, for pipes and files."""
    lines: list[str] = []
    for section in found:
        lines += ["", section.title] if lines else [section.title]
        header = [tuple(map(Cell, section.columns))] if section.columns else []
        table = [[printable(cell.text) for cell in row] for row in (*header, *section.rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines += ["  " + _aligned(row, widths, section.right) for row in table]
    return "\n".join(lines)


def _aligned(row: Sequence[str], widths: Sequence[int], right: frozenset[int]) -> str:
    return "  ".join(
        text.rjust(width) if index in right else text.ljust(width)
        for index, (text, width) in enumerate(zip(row, widths, strict=True))
    ).rstrip()


def printable(text: str) -> str:
    """Keep control characters that a peer sent from steering the terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)
