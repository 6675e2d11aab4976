"""`make bench`: the relay against a chained redis-server, in the same run, in turns.

Measured: CPU seconds of the middle process for a fixed stream with 1, 8 and 32 raw replicas; added
latency of paced writes; the time that WAIT takes by ACK policy; what four replicas cost that attach
to a large dataset; resident memory; how long a restart on a journal of 10 GB takes; what sinks cost
the relay, what clients that monitor do, and what TLS does. Everything is on loopback. CPU seconds
come from /proc/PID/stat: on a machine that others share they and the ratios mean more than wall
time does.
"""

from __future__ import annotations

import json
import os
import pstats
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from rich.console import Console

from tests.bench import (
    acks,
    attach,
    decode,
    eventlog,
    herd,
    latency,
    monitor,
    rdb,
    restart,
    sinks,
    throughput,
    tls,
)
from tests.bench.report import Row, document, print_table
from tests.bench.stage import Plan, choose_server

_PARTS: dict[str, Callable[[Plan, Callable[[str], None]], Iterator[Row]]] = {
    "throughput": throughput.measure,
    "latency": latency.measure,
    "attach": attach.measure,
    "acks": acks.measure,
    "decode": decode.measure,
    "log": eventlog.measure,
    "rdb": rdb.measure,
    "restart": restart.measure,
    "herd": herd.measure,
    "sinks": sinks.measure,
    "monitor": monitor.measure,
    "tls": tls.measure,
}


@click.command()
@click.option("--quick", is_flag=True, help="A tenth of everything: does it work, roughly.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write results there.")
@click.option("--only", multiple=True, type=click.Choice(list(_PARTS)), help="Some parts only.")
@click.option("--repeats", type=click.IntRange(1, 20), help="Runs of each variant.")
@click.option("--replicas", multiple=True, type=click.IntRange(1, 200), help="Instead of 1, 8, 32.")
@click.option("--sync-delay", default=0, help="The servers' repl-diskless-sync-delay, seconds.")
@click.option("--null", is_flag=True, help="A chained server in both roles: ratios must be 1.")
@click.option(
    "--profile", type=click.Path(path_type=Path), help="cProfile of the relay, streaming."
)
def main(
    quick: bool,
    json_file: Path | None,
    only: tuple[str, ...],
    repeats: int | None,
    replicas: tuple[int, ...],
    sync_delay: int,
    null: bool,
    profile: Path | None,
) -> None:
    """Compare the relay with a chained redis-server."""
    # As ctrl-C does: the servers of a measurement end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        server = choose_server()
    except LookupError as exc:
        raise click.ClickException(str(exc)) from exc
    plan = Plan(
        server=server,
        null=null,
        repeats=repeats or (1 if quick or profile else 3),
        counts=replicas or ((1, 8) if quick else (1, 8, 32)),
        writes=150_000 if quick else 1_500_000,
        samples=500 if quick else 3_000,
        keys=300_000 if quick else 3_000_000,
        spacing_seconds=0.5 if quick else 2.0,
        herd_bytes=100 << 20 if quick else 1 << 30,
        sync_delay=sync_delay,
        profile=profile.absolute() if profile else None,
    )
    load = os.getloadavg()
    rows: list[Row] = []
    progress = Console(stderr=True)
    # Rows stay on one line in a log file too.
    console = Console(width=None if sys.stdout.isatty() else 120)
    for part in ("throughput",) if profile else only or tuple(_PARTS):
        with progress.status(part) as status:
            rows += _PARTS[part](plan, status.update)
    print_table(console, plan, rows)
    console.print(f"load average before the run: {load[0]:.2f}; {os.cpu_count()} CPUs")
    if json_file:
        json_file.write_text(json.dumps(document(plan, rows, load=load), indent=2) + "\n")
    if plan.profile is not None:
        pstats.Stats(str(plan.profile)).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main(prog_name="python -m tests.bench")
