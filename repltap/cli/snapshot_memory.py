"""`repltap snapshot memory`: what takes the memory of a server, from an RDB."""

from __future__ import annotations

import base64

import click

from repltap.cli.human import NOTHING, human_size
from repltap.cli.options import json_flag
from repltap.cli.output import show, show_json
from repltap.cli.rdb_input import make_input, rdb_options
from repltap.cli.sections import Cell, Section
from repltap.quoting import quoted
from repltap.rdb.memory import KeySize, MemoryReport, Total


@click.command()
@rdb_options
@click.option(
    "--top",
    type=click.IntRange(0, 100_000),
    default=20,
    show_default=True,
    metavar="N",
    help="How many of the largest keys are shown.",
)
@json_flag
def memory(top: int, as_json: bool, **options: object) -> None:
    """Estimate the memory that the keys of an RDB take.

    Of FILE, - for stdin, or the newest stored snapshot; by type and encoding, and the largest keys.
    An estimate of what MEMORY USAGE says on a 64-bit Redis 7: other versions pack otherwise.

    \b
    repltap snapshot memory dump.rdb
    repltap snapshot memory --data-dir ./data --top 5 --type hash
    """
    found = MemoryReport(top)
    read = make_input(**options)  # type: ignore[arg-type]  # click gives what rdb_options declares
    with read.items() as items:
        for item in items:
            for _ in found.add(item):
                pass
    totals = sorted(found.totals.items(), key=lambda one: -one[1].memory_bytes)
    if as_json:
        show_json(
            {
                "totals": [_total_document(*names, total) for names, total in totals],
                "largest": [_key_document(size) for size in found.largest],
            }
        )
        return
    whole = Total()
    for _, total in totals:
        whole.keys += total.keys
        whole.elements += total.elements
        whole.memory_bytes += total.memory_bytes
    rows = [_total_row(*names, total) for names, total in totals]
    rows.append(_total_row("all", NOTHING, whole))
    sections = [Section("Memory, estimated", _TOTALS, tuple(rows), frozenset({2, 3, 4}))]
    if found.largest:
        keys = tuple(map(_key_row, found.largest))
        sections.append(Section("Largest keys", _KEYS, keys, frozenset({0, 4, 5, 6})))
    show(sections)


_TOTALS = ("type", "encoding", "keys", "elements", "memory")
_KEYS = ("db", "key", "type", "encoding", "elements", "largest", "memory")


def _total_row(name: str, encoding: str, total: Total) -> tuple[Cell, ...]:
    # Bytes of strings are no elements.
    elements = NOTHING if name in ("string", "all") else str(total.elements)
    size = human_size(total.memory_bytes)
    return tuple(map(Cell, (name, encoding, str(total.keys), elements, size)))


def _key_row(size: KeySize) -> tuple[Cell, ...]:
    elements = NOTHING if size.type == "string" else str(size.elements)
    shown = (
        str(size.db), quoted(size.key)[1:-1], size.type, size.encoding, elements,
        human_size(size.largest), human_size(size.memory_bytes),
    )  # fmt: skip
    return tuple(map(Cell, shown))


def _total_document(name: str, encoding: str, total: Total) -> dict[str, object]:
    return {
        "type": name,
        "encoding": encoding,
        "keys": total.keys,
        "elements": total.elements,
        "memory_bytes": total.memory_bytes,
    }


def _key_document(size: KeySize) -> dict[str, object]:
    document = size._asdict()
    try:
        document["key"] = size.key.decode()
    except UnicodeDecodeError:
        document["key"] = base64.b64encode(size.key).decode("ascii")
        document["enc"] = "base64"
    return document
