"""One screen of `repltap top`, out of two statuses: what is, and what moved between them. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from repltap.addresses import host_port
from repltap.cli.human import NOTHING, human_age, human_size, printable
from repltap.cli.sections import STYLES, Cell
from repltap.cli.status_sinks import sink_state
from repltap.cli.status_view import link_state, replica_state
from repltap.status.relay import RelayStatus
from repltap.status.replicas import ReplicaState, ReplicaStatus
from repltap.status.sinks import SinkStatus

_LINES_AROUND = 6
"""What is not rows of peers: two lines above, an empty one, the headings, the master, the keys."""

KEYS = "l lag   r rate   n name   q quit"


class Order(Enum):
    """How replicas and sinks are ordered; the values are the keys."""

    LAG = "l"
    RATE = "r"
    NAME = "n"


@dataclass(frozen=True, slots=True)
class Row:
    """One peer.

    Attributes:
        kind: master, replica or sink.
        name: What it is called.
        state: How it is.
        rate: Bytes a second, None where not known.
        lag_bytes, lag_seconds: Behind the journal's end, the master's row: the journal behind the
            master; None where not known.
        offset: Where it is.
    """

    kind: str
    name: str
    state: Cell
    rate: float | None
    lag_bytes: int | None
    lag_seconds: float | None
    offset: int | None


_SORT_KEYS: dict[Order, Callable[[Row], tuple[float, str]]] = {
    # Of whom nothing is known yet is furthest behind: it is given a snapshot.
    Order.LAG: lambda row: (-(math.inf if row.lag_bytes is None else row.lag_bytes), row.name),
    Order.RATE: lambda row: (-(row.rate or 0.0), row.name),
    Order.NAME: lambda row: (0.0, row.name),
}


def rows(status: RelayStatus, before: RelayStatus | None, order: Order) -> list[Row]:
    """List the master, then replicas, then sinks.

    Args:
        status: What is.
        before: What was; None, or of another run, where no rate is known yet.
        order: Of replicas, and of sinks.
    """
    if before is not None and (before.run_id != status.run_id or before.now >= status.now):
        before = None
    upstream = status.upstream
    master = Row(
        "master",
        upstream.source or upstream.address,
        link_state(status),
        _rate(status, before, status.offset or None, (before.offset or None) if before else None),
        upstream.lag_bytes,
        upstream.lag_seconds,
        status.offset if status.journal else None,
    )
    replicas = [_replica(each, status, before) for each in status.replicas]
    sinks = [_sink(each, status, before) for each in status.sinks]
    key = _SORT_KEYS[order]
    return [master, *sorted(replicas, key=key), *sorted(sinks, key=key)]


def _replica(replica: ReplicaStatus, status: RelayStatus, before: RelayStatus | None) -> Row:
    known = before.replicas if before else ()
    last = next((r for r in known if r.connection_id == replica.connection_id), None)
    if replica.state is ReplicaState.TRANSFER:
        rate = _rate(
            status, before, replica.snapshot_sent_bytes, last.snapshot_sent_bytes if last else None
        )
    else:
        rate = _rate(status, before, replica.acked_offset, last.acked_offset if last else None)
    return Row(
        "replica",
        replica.name,
        replica_state(replica),
        rate,
        replica.lag_bytes,
        replica.lag_seconds,
        replica.acked_offset,
    )


def _sink(sink: SinkStatus, status: RelayStatus, before: RelayStatus | None) -> Row:
    known = before.sinks if before else ()
    last = next((s for s in known if s.name == sink.name), None)
    return Row(
        "sink",
        sink.name,
        sink_state(sink, status.now),
        _rate(status, before, sink.committed_offset, last.committed_offset if last else None),
        sink.lag_bytes,
        sink.lag_seconds,
        sink.committed_offset,
    )


def _rate(
    status: RelayStatus, before: RelayStatus | None, count: int | None, last: int | None
) -> float | None:
    if before is None or count is None or last is None or count < last:
        return None  # another history, or a relay that was told to begin anew
    return (count - last) / (status.now - before.now)


def screen(
    status: RelayStatus,
    found: Sequence[Row],
    *,
    order: Order,
    width: int,
    height: int,
    trouble: str = "",
) -> RenderableType:
    """Draw it.

    Args:
        status: For the lines above the table.
        found: What `rows` gives.
        order: Which is marked.
        width, height: Of the terminal, in characters.
        trouble: Why there is nothing newer, "" for no trouble.
    """
    room = max(1, height - _LINES_AROUND - bool(trouble))
    shown, rest = found[: room + 1], found[room + 1 :]
    if rest:  # the line that says so takes a row
        shown, rest = found[:room], found[room:]
    table = Table(box=None, padding=(0, 1), pad_edge=False, expand=True, header_style="dim")
    table.add_column("", no_wrap=True, width=7)
    table.add_column("name", no_wrap=True, overflow="ellipsis", ratio=1, min_width=12)
    table.add_column("state", no_wrap=True, overflow="ellipsis", ratio=1, min_width=11)
    numbers = ["rate", "lag", "in time"] + (["offset"] if width >= 72 else [])
    for name in numbers:
        table.add_column(name, no_wrap=True, justify="right")
    for row in shown:
        cells = [
            NOTHING if row.rate is None else f"{human_size(round(row.rate))}/s",
            human_size(row.lag_bytes),
            human_age(row.lag_seconds),
            NOTHING if row.offset is None else str(row.offset),
        ]
        short = row.state.text.replace(", next try in ", ", ")
        state = Text(printable(short), style=STYLES[row.state.tone])
        table.add_row(row.kind, Text(printable(row.name)), state, *cells[: len(numbers)])
    lines = [_head(status, width), _facts(status, width), Text("")]
    if trouble:
        lines.append(_line(trouble, width, "bold red"))
    parts: list[RenderableType] = [*lines, table]
    if rest:
        parts.append(_line(f"... and {len(rest)} more", width, "dim"))
    gap = [Text("")] if len(shown) < room else []
    return Group(*parts, *gap, _keys(order, width))


def _head(status: RelayStatus, width: int) -> Text:
    text = (
        f"repltap {status.version}  {host_port(status.listen_host, status.listen_port)}  "
        f"up {human_age(status.now - status.started_at)}  "
        f"clients {status.clients}/{status.max_clients}  memory {human_size(status.rss_bytes)}"
    )
    return _line(text, width, "bold")


def _facts(status: RelayStatus, width: int) -> Text:
    room = human_size(status.disk_free_bytes)
    if status.disk_full:
        return _line(f"room {room}: too little, reading has stopped", width, "bold red")
    journal = status.journal
    if journal is None:
        return _line(f"nothing is stored yet  room {room}", width, "yellow")
    held = human_size(journal.end_offset - journal.first_offset)
    text = f"journal {held}  snapshots {len(journal.snapshots)}  room {room}"
    return _line(f"{text}  replid {journal.replid[:8]}", width, "")


def _keys(order: Order, width: int) -> Text:
    line = _line(KEYS, width, "dim")
    at = KEYS.index(f"{order.value} {order.name.lower()}")
    line.stylize("not dim reverse", at, at + 2 + len(order.name))
    return line


def _line(text: str, width: int, style: str) -> Text:
    made = Text(printable(text), style=style, no_wrap=True)
    made.truncate(width, overflow="ellipsis")
    return made
