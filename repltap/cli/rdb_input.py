"""The RDB that a command reads: a file, stdin or a stored snapshot; and which keys of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import click

from repltap.cli.journal import history_option, open_store
from repltap.cli.options import table_options
from repltap.cli.output import progress
from repltap.cli.snapshot import choose
from repltap.delivery.patterns import glob_pattern
from repltap.errors import ConfigError, DataDirError, NotRetainedError, RdbError
from repltap.rdb.entries import Item, Wanted
from repltap.rdb.reader import RdbReader

_F = TypeVar("_F", bound=Callable[..., Any])  # Any: click's own callback type

TYPES = ("string", "list", "set", "zset", "hash", "stream", "module")


@dataclass(frozen=True, slots=True)
class RdbInput:
    """What is read.

    Attributes:
        path: The file; None for stdin.
        wanted: Which keys, None for all.
    """

    path: Path | None
    wanted: Wanted | None

    @contextmanager
    def items(
        self, values: bool = True, payloads: Collection[str] = ()
    ) -> Iterator[Iterator[Item]]:
        """Read it, with progress.

        Yields:
            What is in it.

        Raises:
            RdbError: While it is read: it is damaged, or beyond what is known.
            StoreError: It can't be opened or read.
        """
        name = "stdin" if self.path is None else str(self.path)
        try:
            with self._open() as (file, size), progress("reading", size) as meter:

                def read(count: int) -> bytes:
                    data = file.read(count)
                    meter.advance(len(data))
                    return data

                yield iter(RdbReader(read, wanted=self.wanted, values=values, payloads=payloads))
        except RdbError as exc:
            exc.add_file(name)
            raise

    @contextmanager
    def _open(self) -> Iterator[tuple[BinaryIO, int | None]]:
        if self.path is None:
            yield sys.stdin.buffer, None
            return
        try:
            with self.path.open("rb") as file:
                yield file, self.path.stat().st_size
        except FileNotFoundError as exc:
            raise NotRetainedError("is not there", path=self.path) from exc
        except (PermissionError, IsADirectoryError) as exc:
            raise DataDirError(f"can't be read: {exc.strerror}", path=self.path) from exc


def rdb_options(command: _F) -> _F:
    """Give a command what `make_input` takes."""
    newest = "Which stored snapshot; the newest if not given."
    kind = click.Choice(TYPES)
    decorators = (
        click.argument("rdb", required=False, metavar="[FILE]"),
        table_options("data_dir"),
        click.option("--offset", type=int, metavar="N", help=newest),
        history_option,
        click.option(
            "--db", "dbs", type=int, multiple=True, metavar="N", help="Only this database."
        ),
        click.option("--key", "globs", multiple=True, metavar="GLOB", help="Only keys like this."),
        click.option("--type", "types", multiple=True, type=kind, help="Only keys of this type."),
    )
    for decorate in reversed(decorators):
        command = decorate(command)
    return command


def make_input(
    rdb: str | None,
    file: Path | None,
    offset: int | None,
    number: int | None,
    dbs: tuple[int, ...],
    globs: tuple[str, ...],
    types: tuple[str, ...],
    **flags: object,
) -> RdbInput:
    """Find out what is meant.

    Raises:
        click.UsageError: A file and a stored snapshot are.
        StoreError: No such snapshot is stored.
    """
    wanted = make_filter(dbs, globs, types)
    if rdb is None:
        try:
            store = open_store(flags, file)
        except ConfigError as exc:
            if flags.get("data_dir") is None:
                exc.hint = "name an RDB file, - for stdin, or with --data-dir where snapshots are"
            raise
        _, snapshot = choose(store, number, offset)
        return RdbInput(snapshot.path, wanted)
    if (offset, number, flags.get("data_dir")) != (None, None, None):
        raise click.UsageError("FILE goes with none of --data-dir, --offset, --history")
    return RdbInput(None if rdb == "-" else Path(rdb), wanted)


def make_filter(
    dbs: Collection[int], globs: Collection[str], types: Collection[str]
) -> Wanted | None:
    """Make what tells which keys are wanted; of each kind given, one must fit."""
    if not dbs and not globs and not types:
        return None
    patterns = [glob_pattern(glob.encode(errors="surrogateescape")) for glob in globs]

    def wanted(db: int, key: bytes, kind: str) -> bool:
        if (dbs and db not in dbs) or (types and kind not in types):
            return False
        return not patterns or any(pattern.match(key) for pattern in patterns)

    return wanted
