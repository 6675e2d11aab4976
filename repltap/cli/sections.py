"""What commands show: tables on a terminal, aligned text elsewhere.

Both are made from the same `Section`s, so they can't tell different things.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from repltap.cli.human import printable


@dataclass(frozen=True, slots=True)
class Cell:
    """One value, and what it means for the operator: "good", "warn", "bad", or "" for neither."""

    text: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """One table.

    Attributes:
        title: Its heading.
        columns: Column headings; empty for a table of names and values.
        rows: The cells.
        right: Which columns hold numbers.
        folded: Which may be folded when the terminal is narrow: half a number misleads.
        spare: Which are left out, one after the other, where a terminal is too narrow for all.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    right: frozenset[int] = frozenset()
    folded: frozenset[int] = frozenset((0,))
    spare: tuple[int, ...] = ()

    def without(self, column: int) -> Section:
        """Leave out a column, one of `spare`."""

        def shifted(columns: Iterable[int]) -> Iterator[int]:
            return (each - (each > column) for each in columns if each != column)

        return Section(
            self.title,
            self.columns[:column] + self.columns[column + 1 :],
            tuple(row[:column] + row[column + 1 :] for row in self.rows),
            frozenset(shifted(self.right)),
            frozenset(shifted(self.folded)),
            tuple(shifted(self.spare)),
        )


def facts(title: str, *rows: tuple[str, str | Cell]) -> Section:
    return Section(
        title,
        (),
        tuple(
            (Cell(name), value if isinstance(value, Cell) else Cell(value)) for name, value in rows
        ),
    )


def row(*texts: str) -> tuple[Cell, ...]:
    return tuple(map(Cell, texts))


STYLES = {"good": "green", "warn": "yellow", "bad": "bold red", "": ""}


def as_tables(found: Sequence[Section]) -> RenderableType:
    """Make rich tables for a terminal; long values are folded, never cut off."""
    parts: list[RenderableType] = []
    for section in found:
        gap = "\n" if parts else ""
        parts += [Text(f"{gap}{section.title}", style="bold"), _table(section)]
    return Group(*parts)


def _table(section: Section) -> Table:
    table = Table(
        box=box.ROUNDED if section.columns else None,
        show_header=bool(section.columns),
        header_style="dim",
        border_style="dim",
        padding=(0, 1),
    )
    if not section.columns:
        table.add_column(style="dim", no_wrap=True, min_width=12)
        table.add_column(overflow="fold")
    for index, name in enumerate(section.columns):
        justify: JustifyMethod = "right" if index in section.right else "left"
        whole = index not in section.folded
        table.add_column(name, justify=justify, overflow="fold", no_wrap=whole)
    for row in section.rows:
        # `Text`, because what a peer said may look like rich's markup.
        table.add_row(*(Text(printable(cell.text), style=STYLES[cell.tone]) for cell in row))
    return table


def as_text(found: Sequence[Section]) -> str:
    """Make plain text with aligned columns, for pipes and files."""
    lines: list[str] = []
    for section in found:
        lines += ["", section.title] if lines else [section.title]
        header = [tuple(map(Cell, section.columns))] if section.columns else []
        table = [[printable(cell.text) for cell in row] for row in (*header, *section.rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines += ["  " + _aligned(row, widths, section.right) for row in table]
    return "\n".join(lines)


def _aligned(row: Sequence[str], widths: Sequence[int], right: frozenset[int]) -> str:
    return "  ".join(
        text.rjust(width) if index in right else text.ljust(width)
        for index, (text, width) in enumerate(zip(row, widths, strict=True))
    ).rstrip()
