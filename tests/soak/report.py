"""What a soak says: a line a round, a table at the end, everything at a failure."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one fault.

    Attributes:
        name: The fault's.
        begin_seconds, end_seconds: Since the round's beginning.
        what: What it did, or why it did nothing.
        struck: Whether it did it.
    """

    name: str
    begin_seconds: float
    end_seconds: float
    what: str
    struck: bool

    def __str__(self) -> str:
        head = "" if self.struck else "nothing: "
        times = f"{self.begin_seconds:5.2f} to {self.end_seconds:5.2f} s"
        return f"{times}  {self.name}: {head}{self.what}"


@dataclass(slots=True)
class Tally:
    """What a soak counts."""

    seed: int
    rounds: int = 0
    episodes: int = 0
    seconds: float = 0.0
    commands: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    full_syncs: Counter[str] = field(default_factory=Counter)
    refusals: int = 0
    damaged: Counter[str] = field(default_factory=Counter)
    max_rss_bytes: int = 0
    failure: str = ""


def replay_command(seed: int, number: int, only: Sequence[str] = ()) -> str:
    """Return the command that runs one round again, alone."""
    arguments = " ".join([f"--round {number}", *(f"--only '{name}'" for name in only)])
    return f'make soak SEED={seed} SOAK_ARGS="{arguments}"'


def show_tally(console: Console, tally: Tally) -> None:
    """Print the table at the end."""
    table = Table(title=f"Fault soak, seed {tally.seed}", show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    table.add_row("rounds", str(tally.rounds))
    table.add_row("episodes", str(tally.episodes))
    table.add_row("duration", f"{tally.seconds:.0f} s")
    table.add_row("commands written", str(tally.commands))
    table.add_row(
        "highest resident memory of a relay", f"{tally.max_rss_bytes / (1 << 20):.0f} MiB"
    )
    table.add_row("refusals to start on a damaged store", str(tally.refusals))
    for title, counts in (
        ("faults", tally.faults),
        ("faults that met the wrong moment", tally.missed),
        ("damages to a store, and what came of them", tally.damaged),
        ("full syncs, all of them legitimate", tally.full_syncs),
    ):
        if counts:
            table.add_section()
            table.add_row(f"[bold]{title}[/bold]", str(counts.total()))
            for name, count in counts.most_common():
                table.add_row(f"  {name}", str(count))
    console.print(table)
    verdict = (
        f"[red]FAILED: {tally.failure}[/red]" if tally.failure else "[green]no difference[/green]"
    )
    console.print(verdict)


def document(tally: Tally) -> dict[str, Any]:
    """Return the tally for a file."""
    return {
        "machine": {
            "cpus": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
        },
        "arguments": sys.argv[1:],
        "seed": tally.seed,
        "rounds": tally.rounds,
        "episodes": tally.episodes,
        "seconds": round(tally.seconds, 1),
        "commands": tally.commands,
        "faults": dict(tally.faults.most_common()),
        "missed": dict(tally.missed.most_common()),
        "damaged": dict(tally.damaged.most_common()),
        "full_syncs": dict(tally.full_syncs.most_common()),
        "refusals": tally.refusals,
        "max_rss_bytes": tally.max_rss_bytes,
        "failure": tally.failure,
    }


def write_json(path: Path, tally: Tally) -> None:
    """Write the tally to a file."""
    path.write_text(json.dumps(document(tally), indent=2) + "\n")
