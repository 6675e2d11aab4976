"""How commands print: tables on a terminal, aligned text elsewhere, JSON when asked; progress."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import click
import orjson
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from repltap.cli.status_view import NOTHING, Section, as_tables, as_text

BROKEN_PIPE = 141  # 128 + SIGPIPE


def stdout_closed() -> int:
    """Nobody reads any more (`repltap ... | head`): end without a word.

    Returns:
        The exit code.
    """
    # The interpreter would fail once more when it flushes at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE


def show(found: Sequence[Section]) -> None:
    """Print tables for people."""
    console = Console()
    if console.is_terminal:
        console.print(as_tables(found))
    else:
        click.echo(as_text(found))


def show_json(document: object) -> None:
    """Print a document for programs."""
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))


@contextmanager
def progress(what: str, total_bytes: int | None) -> Iterator[Callable[[int], None]]:
    """Show how far long work is, on stderr and only if that is a terminal.

    Args:
        what: One or two words.
        total_bytes: All there is to do, None if nobody knows.

    Yields:
        A function to tell of each number of bytes done.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total_bytes)
        yield lambda done: bar.advance(task, done)


def moment(seconds: float | None) -> str:
    """Write a time as people here read it: local, to the second."""
    if seconds is None:
        return NOTHING
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
