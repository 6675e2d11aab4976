"""How commands print: tables on a terminal, aligned text elsewhere, JSON when asked; progress."""

from __future__ import annotations

import os
import select
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

from repltap.cli.human import NOTHING
from repltap.cli.sections import Section, as_tables, as_text

_FOLDED_WIDTH = 12  # of a column that may be folded: less is hard to read
_NAME_WIDTH = 21  # an address in one piece: before that is folded, a column is spared
BROKEN_PIPE = 141  # 128 + SIGPIPE


def is_unread(fd: int = 1) -> bool:
    """Tell whether a descriptor, standard output, is a pipe that nobody reads any more."""
    poll = select.poll()
    poll.register(fd, 0)  # errors are always told
    return any(event & select.POLLERR for _, event in poll.poll(0))


def stdout_closed() -> int:
    """Nobody reads any more (`repltap ... | head`): end without a word.

    Returns:
        The exit code.
    """
    # The interpreter would fail once more when it flushes at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE


def show(found: Sequence[Section]) -> None:
    """Print tables for people, without what can be spared where a terminal is narrow.

    What is too wide all the same is printed as text, which loses nothing.
    """
    console = Console()
    if not console.is_terminal:
        click.echo(as_text(found))
        return
    for index, section in enumerate(found):
        if index:
            click.echo()
        fitting = section
        while fitting.spare and _least_width(fitting, _NAME_WIDTH) > console.width:
            fitting = fitting.without(fitting.spare[0])
        if _least_width(fitting, _FOLDED_WIDTH) <= console.width:
            console.print(as_tables([fitting]))
        else:
            click.echo(as_text([section]))


def _least_width(section: Section, folded_width: int) -> int:
    """Tell how narrow a table can be. In less, rich leaves out whole columns without a word."""
    total = 1
    for index, name in enumerate(section.columns):
        width = max(len(name), *(len(row[index].text) for row in section.rows), 0)
        total += 3 + (min(width, folded_width) if index in section.folded else width)
    return total


def show_json(document: object) -> None:
    """Print a document for programs."""
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))


class Meter:
    """How far long work is.

    Args:
        bar: Where it is shown, None for nowhere.
        what: One or two words.
        total_bytes: All there is to do, None while nobody knows.
    """

    def __init__(self, bar: Progress | None, what: str, total_bytes: int | None) -> None:
        self._bar = bar
        self._task = None if bar is None else bar.add_task(what, total=total_bytes)

    def advance(self, done_bytes: int) -> None:
        """So much more is done."""
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, done_bytes)

    def begin(self, what: str, total_bytes: int | None) -> None:
        """What is done, and how much there is, is known now."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=what, total=total_bytes)


@contextmanager
def progress(what: str, total_bytes: int | None) -> Iterator[Meter]:
    """Show how far long work is, on stderr and only if that is a terminal.

    Args:
        what: One or two words.
        total_bytes: All there is to do, None if nobody knows.

    Yields:
        What to tell of it.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Meter(None, what, total_bytes)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield Meter(bar, what, total_bytes)


@contextmanager
def busy(what: str, *, shown: bool = True) -> Iterator[Callable[[str], None]]:
    """Show that something goes on whose end nobody knows, on stderr and only on a terminal.

    Args:
        what: What is done.
        shown: Whether it is shown there.

    Yields:
        What to tell how far it is, in words. Lines that are written to `sys.stderr` as it is
        meanwhile appear above it.
    """
    console = Console(stderr=True)
    if not (shown and console.is_terminal):
        yield lambda _: None
        return
    with console.status(what) as status:
        yield lambda text: status.update(f"{what}: {text}")


def moment(seconds: float | None) -> str:
    """Write a time as people here read it: local, to the second."""
    if seconds is None:
        return NOTHING
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
