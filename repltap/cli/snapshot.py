"""`repltap snapshot`: look at the stored snapshots, beside a running relay or without one."""

from __future__ import annotations

from pathlib import Path

import click

from repltap.cli.journal import (
    DAMAGED,
    Document,
    damage_document,
    history_option,
    open_store,
    report,
)
from repltap.cli.options import json_flag, table_options
from repltap.cli.output import moment, progress, show, show_json
from repltap.cli.status_view import NOTHING, Cell, Section, human_size
from repltap.store.audit import audit_snapshot
from repltap.store.reader import Damage, HistoryReader, StoreReader
from repltap.store.snapshot import Snapshot

Found = tuple[HistoryReader, Snapshot]


@click.group()
def snapshot() -> None:
    """Look at the stored snapshots; a relay may be running on them meanwhile."""


@snapshot.command(name="ls")
@table_options("data_dir")
@json_flag
def list_snapshots(file: Path | None, as_json: bool, **flags: object) -> int | None:
    """List the stored snapshots: offset, format, size, when they came and from which server.

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
    """Read the stored snapshots and compare them with their size, header and CRC-64.

    Says which file is damaged, goes on to the next, and exits with 5 when any is.

    \b
    repltap snapshot verify --data-dir ./data
    """
    store = open_store(flags, file)
    found, damages = _find(store, number)
    verified = []
    with progress("verifying", sum(one.size_bytes for _, one in found)) as advance:
        for history, one in found:
            damage = audit_snapshot(one, advance)
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
