"""The tables of sinks in `repltap status`."""

from __future__ import annotations

from repltap.cli.human import NOTHING, human_age, human_size
from repltap.cli.sections import Cell, Section, row
from repltap.status.relay import RelayStatus
from repltap.status.sinks import SinkState, SinkStatus


def sinks(status: RelayStatus) -> Section:
    return Section(
        f"Sinks ({len(status.sinks)})",
        ("sink", "type", "state", "committed", "lag", "in time", "records", "sent", "errors"),
        tuple(_sink(each, status.now) for each in status.sinks),
        frozenset((3, 4, 5, 6, 7, 8)),
        folded=frozenset((0, 2)),
        spare=(7, 1, 8, 6),  # sent, type, errors, records
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


def sink_errors(status: RelayStatus) -> list[Section]:
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


def hand_sinks(status: RelayStatus) -> Section:
    return Section(
        "Other sinks with a checkpoint",
        ("sink", "history", "offset", "saved", "kept for it"),
        tuple(
            row(
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
