"""`repltap journal`: look at the stored stream, beside a running relay or without one."""

from __future__ import annotations

import os
from pathlib import Path

import click

from repltap.cli.human import NOTHING, human_size
from repltap.cli.journal_cat import Excerpt, Place, parse_place, print_excerpt
from repltap.cli.options import json_flag, table_options
from repltap.cli.output import moment, progress, show, show_json
from repltap.cli.sections import Cell, Section
from repltap.config import load_data_dir
from repltap.errors import CorruptStoreError, NotRetainedError
from repltap.store.audit import JournalAudit, audit_journal
from repltap.store.format import RECORD_BYTES
from repltap.store.history import JOURNAL_NAME
from repltap.store.reader import Damage, HistoryReader, JournalReader, StoreReader
from repltap.store.segment import Segment

Document = dict[str, object]

DAMAGED = CorruptStoreError.exit_code

history_option = click.option(
    "--history", "number", type=int, metavar="N", help="One history only, by its number."
)


@click.group()
def journal() -> None:
    """Look at the stored stream, also beside a running relay."""


@journal.command(name="ls")
@table_options("data_dir")
@click.option("--segments", "with_segments", is_flag=True, help="List the files too.")
@json_flag
def list_journals(
    file: Path | None, with_segments: bool, as_json: bool, **flags: object
) -> int | None:
    """List the stored histories: their names, offsets, sizes and times.

    \b
    repltap journal ls --data-dir ./data
    repltap journal ls --data-dir ./data --segments
    repltap journal ls --data-dir ./data --json | jq '.histories[].end_offset'
    """
    store = open_store(flags, file)
    damages = [history.damage for history in store.histories if history.damage]
    found = []
    for history in store.histories:
        if history.damage is None:
            try:
                found.append((history, history.journal()))
            except NotRetainedError:
                continue  # removed just then
    if as_json:
        documents = [_document(history, view, with_segments) for history, view in found]
        show_json({"data_dir": str(store.path), "owner": store.owner, "histories": documents})
    elif found:
        rows = tuple(_row(history, view) for history, view in found)
        sections = [Section("Histories", _COLUMNS, rows, _RIGHT)]
        if with_segments:
            sections += [_segments(history, view) for history, view in found]
        show(sections)
    elif not damages:
        click.echo("nothing is stored yet")
    return report(damages)


@journal.command()
@table_options("data_dir")
@history_option
@json_flag
def verify(file: Path | None, number: int | None, as_json: bool, **flags: object) -> int | None:
    """Read the whole journal and compare every checksum.

    Says which file is damaged and which offsets that costs, goes on to the next, and exits with 5
    when anything is. What a relay is writing just now is no damage, nor is a torn end that its next
    start will repair. Snapshots: repltap snapshot verify.

    \b
    repltap journal verify --data-dir ./data
    repltap journal verify --data-dir ./data --history 3 --json
    """
    store = open_store(flags, file)
    histories = store.histories if number is None else (store.history(number),)
    audits: list[tuple[HistoryReader, JournalAudit]] = []
    damages: list[Damage] = []
    with progress("verifying", sum(_disk_bytes(history) for history in histories)) as meter:
        for history in histories:
            damages += [history.damage] if history.damage else []
            try:
                audit = audit_journal(history.path / JOURNAL_NAME, meter.advance)
            except NotRetainedError:
                continue  # removed just then
            audits.append((history, audit))
            damages += audit.damages
    if as_json:
        documents = [_audited(history, audit) for history, audit in audits]
        show_json(
            {
                "data_dir": str(store.path),
                "owner": store.owner,
                "histories": documents,
                "damages": [damage_document(damage) for damage in damages],
            }
        )
        return DAMAGED if damages else None
    for history, audit in audits:
        click.echo(_summary(store, history, audit))
    return report(damages)


@journal.command()
@table_options("data_dir")
@click.option(
    "--from",
    "begin",
    callback=parse_place,
    metavar="OFFSET|TIME",
    help="The first byte; the journal's start if not given.",
)
@click.option(
    "--to",
    "end",
    callback=parse_place,
    metavar="OFFSET|TIME",
    help="After the last byte; the journal's end if not given.",
)
@history_option
@click.option("--follow", is_flag=True, help="Go on with what comes in.")
@click.option(
    "--format",
    "shown",
    type=click.Choice(["text", "json", "raw"]),
    default="text",
    show_default=True,
    help="Lines as MONITOR shows them, JSON lines, or the bytes as they are.",
)
def cat(
    file: Path | None,
    begin: Place,
    end: Place,
    number: int | None,
    follow: bool,
    shown: str,
    **flags: object,
) -> int | None:
    """Print the stored stream, or a part of it.

    Every byte is compared with its checksum before it is printed; where it is damaged, printing
    ends with code 5. A TIME is a date and time (2025-01-31T12:00:00, local; ...Z for UTC) or @ and
    Unix seconds; it is as exact as the index, 50 ms or 64 KiB. Text and JSON begin with the first
    whole command; raw is exact to the byte where offsets are given. Of an unknown database nothing
    is said: it is the last SELECT's, which may have been trimmed.

    \b
    repltap journal cat --data-dir ./data --from 2025-01-31T12:00 --to 2025-01-31T12:05
    repltap journal cat --data-dir ./data --format json | jq -r 'select(.cmd == "DEL").args[]'
    repltap journal cat --data-dir ./data --format raw --from 1000 | redis-cli -p 7000 --pipe
    repltap journal cat --data-dir ./data --follow
    """
    history = open_store(flags, file).history(number)
    excerpt = Excerpt(history, begin, end, raw=shown == "raw", follow=follow)
    return print_excerpt(excerpt, shown)


def open_store(flags: dict[str, object], file: Path | None) -> StoreReader:
    """Look at the data directory that flags, environment or file name.

    Raises:
        ConfigError: They don't, or wrongly.
        DataDirError: It is none.
    """
    return StoreReader(load_data_dir(flags, os.environ, file))


def report(damages: list[Damage]) -> int | None:
    """Print what is damaged, and give the exit code."""
    for damage in damages:
        click.secho(f"damaged: {damage}", fg="red")
    if not damages:
        return None
    click.echo(f"{len(damages)} damaged")
    return DAMAGED


def damage_document(damage: Damage) -> Document:
    """Give a damage as JSON shows it."""
    return {
        "file": str(damage.path),
        "message": damage.message,
        "offset_start": damage.start,
        "offset_end": damage.end,
    }


_COLUMNS = (
    "history", "replid", "second replid", "from", "to", "held", "segments", "first byte",
    "last byte", "master",
)  # fmt: skip
_RIGHT = frozenset({0, 3, 4, 5, 6})


def _row(history: HistoryReader, view: JournalReader) -> tuple[Cell, ...]:
    said = history.metadata.history
    first, last = _times(view)
    second = f"{said.replid2[:8]} to {said.second_offset - 1}" if said.predecessors else NOTHING
    shown = (
        str(history.number), said.replid[:8], second, str(view.start), str(view.end()),
        human_size(view.disk_bytes), str(len(view.segments)), moment(first), moment(last),
        history.metadata.origin or NOTHING,
    )  # fmt: skip
    return tuple(map(Cell, shown))


def _segments(history: HistoryReader, view: JournalReader) -> Section:
    rows = []
    for segment in view.segments:
        times = view.times(segment) or (None, None)
        shown = (
            segment.path.name, str(segment.start), str(segment.end),
            human_size(segment.end - segment.start), str(segment.index_bytes // RECORD_BYTES),
            moment(_seconds(times[0])), moment(_seconds(times[1])),
        )  # fmt: skip
        rows.append(tuple(map(Cell, shown)))
    columns = ("file", "from", "to", "size", "records", "first byte", "last byte")
    return Section(f"History {history.number}", columns, tuple(rows), frozenset({1, 2, 3, 4}))


def _document(history: HistoryReader, view: JournalReader, with_segments: bool) -> Document:
    said = history.metadata
    first, last = _times(view)
    document: Document = {
        "history": history.number,
        "path": str(history.path),
        "replid": said.history.replid,
        "predecessors": [{"replid": p.replid, "until": p.until} for p in said.history.predecessors],
        "origin": said.origin,
        "created_at": said.created_at,
        "first_offset": view.start,
        "end_offset": view.end(),
        "durable_offset": view.mark,
        "disk_bytes": view.disk_bytes,
        "segments": len(view.segments),
        "first_byte_at": first,
        "last_byte_at": last,
    }
    if with_segments:
        document["files"] = [_segment_document(view, segment) for segment in view.segments]
    return document


def _segment_document(view: JournalReader, segment: Segment) -> Document:
    first, last = view.times(segment) or (None, None)
    return {
        "file": segment.path.name,
        "first_offset": segment.start,
        "end_offset": segment.end,
        "index_records": segment.index_bytes // RECORD_BYTES,
        "first_byte_at": _seconds(first),
        "last_byte_at": _seconds(last),
    }


def _audited(history: HistoryReader, audit: JournalAudit) -> Document:
    return {
        "history": history.number,
        "path": str(history.path),
        "first_offset": audit.start,
        "end_offset": audit.end,
        "checked_bytes": audit.checked_bytes,
        "uncovered_bytes": audit.uncovered_bytes,
        "trimmed_segments": audit.trimmed_segments,
        "damaged": bool(audit.damages),
    }


def _summary(store: StoreReader, history: HistoryReader, audit: JournalAudit) -> str:
    covered = f"offsets {audit.start} to {audit.end}"
    parts = [
        f"history {history.number}: {covered}, {audit.checked_bytes} bytes match their checksums"
    ]
    if audit.uncovered_bytes:
        why = "not covered yet" if store.owner else "torn off by a crash: the next start cuts them"
        parts.append(f"{audit.uncovered_bytes} bytes at the end are {why}")
    if audit.trimmed_segments:
        parts.append(f"{audit.trimmed_segments} segments were trimmed meanwhile")
    return "; ".join(parts)


def _disk_bytes(history: HistoryReader) -> int:
    try:
        return sum(segment.end - segment.start for segment in history.journal().segments)
    except NotRetainedError:
        return 0


def _times(view: JournalReader) -> tuple[float | None, float | None]:
    """When the first and the last bytes of a journal came in."""
    times = [found for segment in view.segments if (found := view.times(segment))]
    return (_seconds(times[0][0]), _seconds(times[-1][1])) if times else (None, None)


def _seconds(time_ns: int | None) -> float | None:
    return None if time_ns is None else time_ns / 1e9
