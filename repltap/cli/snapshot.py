"""`repltap snapshot`: look at the stored snapshots, beside a running relay or without one."""

from __future__ import annotations

import os
from pathlib import Path

import click

from repltap.cli.human import NOTHING, human_size
from repltap.cli.journal import (
    DAMAGED,
    Document,
    damage_document,
    history_option,
    open_store,
    report,
)
from repltap.cli.options import (
    UPSTREAM_TLS,
    from_redis_cli,
    json_flag,
    redis_cli_environment,
    redis_cli_flags,
    table_options,
)
from repltap.cli.output import moment, progress, show, show_json
from repltap.cli.sections import Cell, Section
from repltap.cli.snapshot_fetch import fetch_from_master, fetch_stored
from repltap.config import load_upstream
from repltap.errors import CorruptStoreError, NotRetainedError
from repltap.store.audit import audit_snapshot
from repltap.store.reader import Damage, HistoryReader, StoreReader
from repltap.store.snapshot import Snapshot

Found = tuple[HistoryReader, Snapshot]


@click.group()
def snapshot() -> None:
    """Look at the stored snapshots, also beside a running relay."""


@snapshot.command(name="ls")
@table_options("data_dir")
@json_flag
def list_snapshots(file: Path | None, as_json: bool, **flags: object) -> int | None:
    """List the stored snapshots: offset, format, size, time and server.

    \b
    repltap snapshot ls --data-dir ./data
    repltap snapshot ls --data-dir ./data --json
    """
    store = open_store(flags, file)
    found, damages = _find(store, None)
    if as_json:
        show_json(
            {
                "data_dir": str(store.path),
                "snapshots": [_document(history, one) for history, one in found],
                "damages": [damage_document(damage) for damage in damages],
            }
        )
        return DAMAGED if damages else None
    if found:
        rows = tuple(_row(history, one) for history, one in found)
        show([Section("Snapshots", _COLUMNS, rows, _RIGHT)])
    elif not damages:
        click.echo("no snapshot is stored")
    return report(damages)


@snapshot.command()
@table_options("data_dir")
@history_option
@json_flag
def verify(file: Path | None, number: int | None, as_json: bool, **flags: object) -> int | None:
    """Compare the stored snapshots with their size, header and CRC-64.

    Says which file is damaged, goes on to the next, and exits with 5 when any is.

    \b
    repltap snapshot verify --data-dir ./data
    """
    store = open_store(flags, file)
    found, damages = _find(store, number)
    verified = []
    with progress("verifying", sum(one.size_bytes for _, one in found)) as meter:
        for history, one in found:
            damage = audit_snapshot(one, meter.advance)
            verified.append((history, one, damage))
            if damage is not None:
                damages.append(damage)
    if as_json:
        documents = [
            _document(history, one) | {"damaged": damage is not None}
            for history, one, damage in verified
        ]
        show_json(
            {
                "data_dir": str(store.path),
                "snapshots": documents,
                "damages": [damage_document(damage) for damage in damages],
            }
        )
        return DAMAGED if damages else None
    for history, one, damage in verified:
        if damage is None:
            click.echo(
                f"history {history.number}: {one.path.name}, {one.size_bytes} bytes, is right"
            )
    if not verified and not damages:
        click.echo("no snapshot is stored")
    return report(damages)


@snapshot.command()
@table_options(
    "data_dir",
    "upstream",
    "upstream_username",
    "upstream_password_file",
    "upstream_announce_version",
    "upstream_timeout_seconds",
    "upstream_transfer_timeout_seconds",
    "upstream_connect_timeout_seconds",
    *UPSTREAM_TLS,
)
@redis_cli_flags
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Where to write it; it appears whole, and replaces what is there.",
)
@click.option("--offset", type=int, metavar="N", help="Which stored one; the newest if not given.")
@history_option
@json_flag
def fetch(
    file: Path | None,
    output: Path,
    offset: int | None,
    number: int | None,
    as_json: bool,
    **flags: object,
) -> None:
    """Get an RDB file, from a server or from the stored snapshots.

    With --upstream, -h or -p on the command line the server there is asked for its dataset, as
    `redis-cli --rdb` does; else a stored one is copied. Either is compared with its CRC-64 before
    the file appears. A password is given by REPLTAP_UPSTREAM_PASSWORD or --upstream-password-file.
    Valkey 9 sends its own format; --upstream-announce-version none asks for the one that Redis
    reads too.

    \b
    repltap snapshot fetch --upstream redis://127.0.0.1:6379 --output dump.rdb
    repltap snapshot fetch -h 127.0.0.1 -p 6379 --output dump.rdb
    repltap snapshot fetch --data-dir ./data --output dump.rdb
    repltap snapshot fetch --data-dir ./data --offset 1000 --output dump.rdb
    """
    environ = redis_cli_environment(flags, os.environ, file)
    flags = from_redis_cli(flags)
    if flags["upstream"] is not None:
        from repltap.preflight.sentinels import with_master

        if (offset, number, flags["data_dir"]) != (None, None, None):
            raise click.UsageError("--upstream goes with none of --data-dir, --offset, --history")
        document = fetch_from_master(with_master(load_upstream(flags, environ, file)), output)
    else:
        document = fetch_stored(choose(open_store(flags, file), number, offset), output)
    if as_json:
        show_json(document)
    else:
        click.echo(
            "{file}: {size_bytes} bytes, {format}, offset {offset} of {replid}".format_map(document)
        )


def choose(store: StoreReader, number: int | None, offset: int | None) -> Found:
    """Find the stored snapshot that is meant.

    Raises:
        NotRetainedError: It is not there.
        CorruptStoreError: It is damaged, and no other is meant.
    """
    history = store.history(number)
    found, damages = history.snapshots()
    for one in found:
        if offset in (None, one.offset):
            return history, one
    for damage in damages:
        raise CorruptStoreError(damage.message, path=damage.path)
    what = (
        "no snapshot is stored" if offset is None else f"no snapshot is stored for offset {offset}"
    )
    raise NotRetainedError(what, path=history.path, hint="see `repltap snapshot ls`")


def _find(store: StoreReader, number: int | None) -> tuple[list[Found], list[Damage]]:
    histories = store.histories if number is None else (store.history(number),)
    found: list[Found] = []
    damages: list[Damage] = []
    for history in histories:
        if history.damage is not None:
            damages.append(history.damage)
        snapshots, broken = history.snapshots()
        found += [(history, one) for one in snapshots]
        damages += broken
    return found, damages


_COLUMNS = ("history", "offset", "format", "size", "stored", "server", "file")
_RIGHT = frozenset({0, 1, 3})


def _row(history: HistoryReader, one: Snapshot) -> tuple[Cell, ...]:
    shown = (
        str(history.number), str(one.offset), one.format, human_size(one.size_bytes),
        moment(one.created_at), _server(one) or NOTHING, one.path.name,
    )  # fmt: skip
    return tuple(map(Cell, shown))


def _document(history: HistoryReader, one: Snapshot) -> Document:
    return {
        "history": history.number,
        "file": str(one.path),
        "offset": one.offset,
        "format": one.format,
        "size_bytes": one.size_bytes,
        "crc64": f"{one.crc64:016x}",
        "created_at": one.created_at,
        "duration_seconds": one.duration_seconds,
        "aux": dict(one.aux),
    }


def _server(one: Snapshot) -> str:
    if version := one.aux.get("valkey-ver"):
        return f"Valkey {version}"
    version = one.aux.get("redis-ver")
    return f"Redis {version}" if version else ""
