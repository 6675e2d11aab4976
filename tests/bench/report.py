"""What was measured, as a table with ratios and as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.stage import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured quantity.

    Attributes:
        group, name: What it is.
        unit: As printed; "" for counts.
        direct, chained, relay: By variant; None where it makes no sense.
        max_ratio: The goal as a share of the chained server's value.
        max_value, min_value: The goal as a value.
    """

    group: str
    name: str
    unit: str = ""
    direct: float | None = None
    chained: float | None = None
    relay: float | None = None
    max_ratio: float | None = None
    max_value: float | None = None
    min_value: float | None = None

    @property
    def ratio(self) -> float | None:
        """Return relay / chained."""
        if self.relay is None or not self.chained:
            return None
        return self.relay / self.chained

    @property
    def met(self) -> bool | None:
        """Tell whether the goal is met; None without one."""
        if self.relay is None:
            return None
        if self.max_ratio is not None:
            return self.ratio is not None and self.ratio <= self.max_ratio
        if self.min_value is not None:
            return self.relay >= self.min_value
        return self.relay <= self.max_value if self.max_value is not None else None


def print_table(console: Console, plan: Plan, rows: Sequence[Row]) -> None:
    """Print the rows, grouped."""
    version = ".".join(map(str, plan.server.version))
    table = Table(title=f"Relay against chained {plan.server.vendor} {version}")
    table.add_column("")
    for name in ("direct", "chained", "relay", "ratio", "goal"):
        table.add_column(name, justify="right")
    group = ""
    for row in rows:
        if row.group != group:
            group = row.group
            table.add_section()
            table.add_row(f"[bold]{group}[/bold]")
        unit = f", {row.unit}" if row.unit else ""
        values = (_number(value) for value in (row.direct, row.chained, row.relay))
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        table.add_row(f"  {row.name}{unit}", *values, ratio, _goal(row))
    console.print(table)


def document(
    plan: Plan, rows: Sequence[Row], *, load: tuple[float, float, float]
) -> dict[str, Any]:
    """Return everything for a file.

    Args:
        load: The machine's load averages before the run.
    """
    what = asdict(plan)
    what["server"] = f"{plan.server.vendor} {'.'.join(map(str, plan.server.version))}"
    what["profile"] = str(plan.profile) if plan.profile else None
    return {
        "machine": {
            "cpus": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
            "load_average_before": load,
        },
        "plan": what,
        "rows": [asdict(row) | {"ratio": row.ratio, "met": row.met} for row in rows],
    }


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if value == int(value):
        return f"{int(value)}"
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _goal(row: Row) -> str:
    if row.met is None:
        return ""
    limit = f"ratio {row.max_ratio:g}" if row.max_ratio is not None else _number(row.max_value)
    limit = f"<= {limit}" if row.min_value is None else f">= {_number(row.min_value)}"
    return f"{limit} " + ("[green]met[/green]" if row.met else "[red]missed[/red]")
