"""`repltap snapshot cat`: print what an RDB holds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

import click

from repltap.cli.output import stdout_closed
from repltap.cli.rdb_input import TYPES, make_input, rdb_options
from repltap.quoting import quoted
from repltap.rdb import write_resp
from repltap.rdb.entries import Aux, Function, Item, ModuleAux, SlotImport
from repltap.rdb.keys import KeyWriter
from repltap.rdb.losses import Losses
from repltap.rdb.restore import RestoreWriter
from repltap.rdb.target import Target
from repltap.rdb.write_json import JsonWriter
from repltap.rdb.write_resp import RespWriter

_BLOCK_BYTES = 1 << 18


class _Writer(Protocol):
    def write(self, item: Item) -> bytes: ...


@dataclass(frozen=True, slots=True)
class _Form:
    """How a format reads.

    Attributes:
        writer: What writes it.
        values: Whether it needs values.
        payloads: The types whose serialized form it needs.
        losses: What it has left out, once it is written.
    """

    writer: _Writer
    values: bool = True
    payloads: Collection[str] = ()
    losses: Losses | None = None


def parse_target(_ctx: click.Context, param: click.Parameter, text: str | None) -> Target | None:
    """Read the name of a server.

    Raises:
        click.BadParameter: It is none.
    """
    try:
        return None if text is None else Target.parse(text)
    except ValueError as exc:
        raise click.BadParameter(str(exc), param=param) from exc


@click.command()
@rdb_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "resp", "restore", "keys"]),
    default="json",
    show_default=True,
    help="JSON lines; commands that rebuild the keys; RESTORE commands; names alone, quoted as "
    "redis-cli does where they are no text.",
)
@click.option(
    "--target",
    callback=parse_target,
    metavar="SERVER",
    help="For --format resp: whom the commands are for, such as redis-6.2; who wrote the file if "
    "not given.",
)
def cat(form: str, target: Target | None, **options: object) -> int | None:
    """Print what an RDB holds, as JSON, commands or names.

    Of FILE, - for stdin, or the newest stored snapshot. It is read as a stream, in little memory: a
    large value comes in several records or commands. Exits with 5 when the file is damaged, after
    what is before the damage. `resp` is for an empty server; it can't set a consumer's times nor
    what is pending of deleted entries, `restore` can.

    With --db, --key or --type there are no AUX fields and no functions in it.

    \b
    repltap snapshot cat dump.rdb
    repltap snapshot cat dump.rdb --format resp | redis-cli -p 7000 --pipe
    repltap snapshot cat --data-dir ./data --key 'user:*' --type hash --db 0
    """
    chosen = _form(form, target)
    read = make_input(**options)  # type: ignore[arg-type]  # click gives what rdb_options declares
    out = sys.stdout.buffer
    pending: list[bytes] = []
    size = 0
    write = _of_keys(chosen.writer) if read.wanted else chosen.writer.write
    try:
        with read.items(chosen.values, chosen.payloads) as items:
            try:
                for item in items:
                    written = write(item)
                    pending.append(written)
                    size += len(written)
                    if size >= _BLOCK_BYTES:
                        out.write(b"".join(pending))
                        pending, size = [], 0
            finally:
                out.write(b"".join(pending))
                out.flush()
    except BrokenPipeError:
        return stdout_closed()
    if chosen.losses is not None:
        for what, count in chosen.losses.counts.items():
            click.echo(f"repltap: left out: {what} ({count})", err=True)
    return None


def _of_keys(writer: _Writer) -> Callable[[Item], bytes]:
    """Write keys alone: who asks for some of them does not ask for functions."""

    def write(item: Item) -> bytes:
        if isinstance(item, Function | ModuleAux | SlotImport):
            return b""
        written = writer.write(item)
        return b"" if isinstance(item, Aux) else written  # a writer learns from them

    return write


def _form(form: str, target: Target | None) -> _Form:
    if target is not None and form != "resp":
        raise click.UsageError("--target goes with --format resp")
    if form == "resp":
        resp = RespWriter(target)
        return _Form(resp, payloads=write_resp.PAYLOADS, losses=resp.losses)
    if form == "restore":
        restore = RestoreWriter()
        return _Form(restore, values=False, payloads=TYPES, losses=restore.losses)
    return _Form(JsonWriter()) if form == "json" else _Form(KeyWriter(quoted), values=False)
