"""`repltap sink log`: what a log holds, reading it, consumer groups, checking it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson

from repltap.sink import ReplTapError
from sinks.eventlog.audit import audit_partition
from sinks.eventlog.files import LogError, OffsetOutOfRangeError, list_segments, segment_path
from sinks.eventlog.groups import Group, group_name, list_groups
from sinks.eventlog.output import FORMATS, print_log
from sinks.eventlog.reader import LogReader
from sinks.eventlog.start import parse_start

DAMAGED = 5
_BROKEN_PIPE = 141  # 128 + SIGPIPE

_F = TypeVar("_F", bound=Callable[..., Any])  # Any: click's own callback type

json_flag = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _group(
    _ctx: click.Context | None, param: click.Parameter | None, text: str | None
) -> str | None:
    try:
        return None if text is None else group_name(text)
    except ValueError as exc:
        raise click.BadParameter(str(exc), param=param) from None


def which_log(command: _F) -> _F:
    """Give a command the options that name a log."""
    for option in (
        click.option(
            "--data-dir",
            type=click.Path(path_type=Path),
            envvar="REPLTAP_DATA_DIR",
            metavar="DIR",
            help="The relay's data directory, for --sink.  [env: REPLTAP_DATA_DIR]",
        ),
        click.option("--sink", metavar="NAME", help="The log of this sink, once it has committed."),
        click.option(
            "--topic-dir",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="The log's own directory, `dir` of the sink.",
        ),
    ):
        command = option(command)
    return command


@click.group()
def log() -> None:
    """Read the logs that sinks of type log write."""


@log.command(name="ls")
@which_log
@json_flag
def list_partitions(as_json: bool, **which: Any) -> None:
    """List the partitions of a log: offsets, sizes, times.

    \b
    repltap sink log ls --topic-dir ./log
    repltap sink log ls --sink log --data-dir ./data --json
    """
    found = _open(**which)
    commit = found.commit()
    rows = []
    for number, end in enumerate(commit.ends):
        with found.partition(number) as partition:
            earliest = partition.earliest()
            try:
                first = partition.read(earliest)
            except OffsetOutOfRangeError:
                first = []  # retention was quicker
            segments = [base for base in list_segments(partition.path) if base <= end.segment]
            rows.append(
                {
                    "partition": number,
                    "earliest": earliest,
                    "latest": end.next_offset,
                    "segments": len(segments),
                    "bytes": sum(_size(partition.path, base) for base in segments),
                    "first_ts_ms": first[0].ts_ms if first else None,
                }
            )
    if as_json:
        document = {"dir": str(found.directory), "log": found.meta.id, "commit": commit.number}
        _show_json({**document, "committed_at": commit.time, "partitions": rows})
        return
    _show_table(
        ("partition", "earliest", "latest", "segments", "bytes", "first record"),
        [(*(row[name] for name in list(row)[:5]), _moment(row["first_ts_ms"])) for row in rows],
    )


@log.command()
@which_log
@click.option("--partition", type=click.IntRange(min=0), metavar="N", help="One partition only.")
@click.option(
    "--from",
    "start",
    default="earliest",
    metavar="PLACE",
    callback=parse_start,
    help="earliest, latest, an offset, or a time such as 2025-01-31T12:00:00 or @1738324800. A "
    "group goes on where it was.  [default: earliest]",
)
@click.option("--group", callback=_group, metavar="NAME", help="Read as a member of a group.")
@click.option(
    "--reset",
    type=click.Choice(["earliest", "latest"]),
    help="Where to go on if what comes next is not held any more.",
)
@click.option("--follow", is_flag=True, help="Go on with what comes in.")
@click.option("--max", "limit", type=click.IntRange(min=1), metavar="N", help="So many records.")
@click.option(
    "--format",
    "shown",
    type=click.Choice(sorted(FORMATS)),
    default="value",
    help="value: the values alone; full: text for people; json: everything.  [default: value]",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
def read(
    partition: int | None,
    start: Any,
    group: str | None,
    reset: str | None,
    follow: bool,
    limit: int | None,
    shown: str,
    as_json: bool,
    **which: Any,
) -> int | None:
    """Print the records of a log, what is committed and no more.

    A member of a group gets the partitions that no other member reads at the time, and remembers
    how far it is after the records have been written out: one that is killed has some printed
    again by the next, and none left out.

    \b
    repltap sink log read --topic-dir ./log --from latest --follow
    repltap sink log read --topic-dir ./log --from 2025-01-31T12:00:00 --max 10 --json
    repltap sink log read --sink log --data-dir ./data --group audit --follow | program
    """
    found = _open(**which)
    numbers = list(range(found.meta.partitions))
    if partition is not None:
        if partition not in numbers:
            raise click.UsageError(f"there is no partition {partition}: 0 to {numbers[-1]}")
        numbers = [partition]
    elif start.offset is not None and len(numbers) > 1:
        raise click.UsageError("--from OFFSET is of one partition: say which with --partition")
    try:
        print_log(
            found,
            numbers,
            start.resolve,
            group=Group(found, group) if group else None,
            reset=reset,
            follow=follow,
            limit=limit,
            write=FORMATS["json" if as_json else shown],
        )
    except BrokenPipeError:
        # The interpreter would fail once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    return None


@log.command()
@which_log
@json_flag
def groups(as_json: bool, **which: Any) -> None:
    """List the consumer groups of a log and how far they are.

    \b
    repltap sink log groups --topic-dir ./log
    """
    found = _open(**which)
    ends = found.commit().ends
    rows = []
    for state in list_groups(found):
        is_ours = state.log == found.meta.id
        rows.append(
            {
                "group": state.group,
                "partition": state.partition,
                "offset": state.offset,
                "lag": ends[state.partition].next_offset - state.offset if is_ours else None,
                "member": state.member,
            }
        )
    if as_json:
        _show_json({"dir": str(found.directory), "groups": rows})
    elif rows:
        _show_table(tuple(rows[0]), [tuple(row.values()) for row in rows])
    else:
        click.echo("no group has read this log yet")


@log.command()
@which_log
@json_flag
def verify(as_json: bool, **which: Any) -> int | None:
    """Read a whole log and compare every checksum, offset and index.

    Says which file is damaged, goes on to the next, and exits with 5 when anything is. What is not
    committed yet is not looked at.

    \b
    repltap sink log verify --topic-dir ./log
    """
    found = _open(**which)
    total = sum(
        _size(partition.path, base)
        for partition in map(found.partition, range(found.meta.partitions))
        for base in list_segments(partition.path)
    )
    shows = sys.stderr.isatty()
    with (
        click.progressbar(length=total, label="verifying", file=sys.stderr)
        if shows
        else nullcontext()
    ) as bar:
        advance: Callable[[int], None] = (lambda _: None) if bar is None else bar.update
        audits = [
            audit_partition(found, number, advance) for number in range(found.meta.partitions)
        ]
    if as_json:
        rows = [
            {
                "partition": audit.partition,
                "records": audit.records,
                "bytes": audit.size,
                "damages": audit.damages,
                "indexes": [str(path) for path in audit.indexes],
            }
            for audit in audits
        ]
        _show_json({"dir": str(found.directory), "partitions": rows})
    else:
        records, size = sum(a.records for a in audits), sum(a.size for a in audits)
        click.echo(f"{records} records in {size} bytes are what their checksums say")
    for audit in audits:
        for damage in audit.damages:
            click.echo(f"damaged: {damage}", err=True)
        for path in audit.indexes:
            click.echo(
                f"does not fit its segment: {path}: remove it; the sink writes it again at its "
                "next start, reading is only slower without",
                err=True,
            )
    return DAMAGED if any(audit.damages or audit.indexes for audit in audits) else None


def _open(topic_dir: Path | None, sink: str | None, data_dir: Path | None) -> LogReader:
    if topic_dir is not None and sink is None:
        return LogReader(topic_dir)
    if sink is None or data_dir is None or topic_dir is not None:
        raise click.UsageError("name the log: --topic-dir DIR, or --sink NAME --data-dir DIR")
    path = data_dir / "checkpoints" / f"{sink}.json"
    hint = "name its directory with --topic-dir"
    try:
        found = orjson.loads(path.read_bytes())
        if not found["state"] and found.get("reset"):
            raise FileNotFoundError
        return LogReader(Path(found["state"]["dir"]))
    except FileNotFoundError as exc:
        message = f"{path}: the sink {sink} has not committed yet, or there is none"
        raise ReplTapError(message, hint=hint) from exc
    except OSError as exc:
        raise LogError(f"can't be read: {exc.strerror}", path=path, hint=hint) from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise ReplTapError(f"{path}: {sink} is no sink of type log", hint=hint) from exc


def _size(partition: Path, base: int) -> int:
    try:
        return segment_path(partition, base).stat().st_size
    except FileNotFoundError:
        return 0  # retention was quicker


def _moment(ts_ms: int | None) -> str:
    if ts_ms is None:
        return "-"
    return datetime.fromtimestamp(ts_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _show_json(document: object) -> None:
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))


def _show_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    cells = [columns, *(["-" if cell is None else str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        click.echo("  ".join(map(str.rjust, row, widths)))
