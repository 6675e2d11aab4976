"""What was seen of each server above each other, and of each client, against what is documented.

Tests note what they see as properties of their reports, which reach the end of the run from all
processes: the tables are printed there. Each test compares its own cells with the documented table,
so the whole table is what the run gave when all of them pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tests.servers.find import Flavour

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"

FULL = "yes"
"""Full sync, partial sync after each link was cut, equal data and offsets."""

ADAPTED = "yes*"
"""The same; the relay fetches a second snapshot, in the form that this downstream can load."""

REFUSED = "no"
"""The downstream can't load what this upstream writes: under the upstream itself neither."""

TUNNEL = "tunnel"
"""The same over TLS, where the build of one of the two has none: a tunnel beside it speaks it. The
relay knows nothing of that, and speaks TLS on both links."""

ABSENT = "?"

_PROPERTY = "matrix "
Note = Callable[[str, object], None]
"""pytest's `record_property`."""


def label(flavour: Flavour) -> str:
    """Name a server as the table does."""
    return label_of(flavour.name)


def label_of(name: str) -> str:
    """Name a server of this name: `redis-7.0` is Redis 7.0."""
    vendor, version = name.split("-")
    return f"{vendor.capitalize()} {version}"


def note(record: Note, table: str, row: str, cells: Mapping[str, str]) -> None:
    """Note what was seen in a row, and compare it with what is documented.

    Args:
        record: Of the test.
        table: The heading above the documented table.
        row, cells: What the row is called, and what was seen by column.
    """
    for column, seen in cells.items():
        record(f"{_PROPERTY}{table}|{row}|{column}", seen)
    documented = documented_table(table)
    wrong = {
        f"{row} / {column}": (seen, documented.get(row, {}).get(column))
        for column, seen in cells.items()
        if documented.get(row, {}).get(column) != seen
    }
    assert not wrong, f"seen and documented ({DOCUMENT.name}, {table}) differ: {wrong}"


def documented_table(heading: str, text: str | None = None) -> dict[str, dict[str, str]]:
    """Read the table below a heading: the cells of each row, by column."""
    lines = iter((DOCUMENT.read_text() if text is None else text).splitlines())
    for line in lines:
        if line.startswith("#") and line.lstrip("# ") == heading:
            break
    rows: list[list[str]] = []
    for line in lines:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows or line.startswith("#"):
            break
    if not rows:
        return {}
    columns = rows[0][1:]
    return {row[0].strip("*"): dict(zip(columns, row[1:], strict=True)) for row in rows[2:]}


def seen_tables(properties: Iterable[tuple[str, object]]) -> list[str]:
    """Give the lines of all tables that were seen in a run."""
    tables: dict[str, dict[str, dict[str, str]]] = {}
    for name, seen in properties:
        if name.startswith(_PROPERTY):
            table, row, column = name.removeprefix(_PROPERTY).split("|")
            cells = tables.setdefault(table, {}).setdefault(row, {})
            # Several tests see the same cell: all have to agree.
            before = cells.get(column, str(seen))
            cells[column] = str(seen) if before == seen else f"{before} / {seen}"
    lines = []
    for table, rows in tables.items():
        columns = sorted({column for cells in rows.values() for column in cells})
        lines += ["", table, ""]
        widths = [max(map(len, rows)), *(max(len(column), 4) for column in columns)]
        lines.append(_line(["", *columns], widths))
        for row in sorted(rows):
            cells = rows[row]
            lines.append(_line([row, *(cells.get(c, ABSENT) for c in columns)], widths))
    return lines


def _line(cells: list[str], widths: list[int]) -> str:
    return "  ".join(f"{c:<{w}}" for c, w in zip(cells, widths, strict=True)).rstrip()
