"""`repltap demo`: everything on one machine, with no set-up."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--server", metavar="PROGRAM", help="Redis or Valkey server to use instead.")
@click.option(
    "--rate",
    type=click.IntRange(1, 100_000),
    default=2000,
    show_default=True,
    help="Writes a second.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    metavar="N",
    help="Stop by itself after that long.  [default: at ctrl-C]",
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep logs and data here.  [default: a temporary directory, removed at the end]",
)
def demo(server: str | None, rate: int, seconds: float | None, directory: Path | None) -> int:
    """Start a master, the relay, two replicas and traffic.

    ctrl-C stops all. Needs no set-up: the embedded Valkey server is used, or one that is
    found on PATH.

    \b
    repltap demo
    repltap demo --server redis-server --rate 5000 --seconds 60
    """
    from repltap.demo.stage import DemoSettings, run_demo

    return run_demo(
        DemoSettings(server=server, rate=rate, seconds=seconds, directory=directory), click.echo
    )
