"""`repltap sink run`: deliver to a sink by hand, beside a relay or without one."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from repltap import logs
from repltap.cli.options import sink_flag, table_options
from repltap.cli.output import busy, is_unread, stdout_closed
from repltap.config import TapConfig, load_tap
from repltap.delivery.report import WorkerReport, WorkerState
from repltap.errors import ConfigError, ReplTapError, StoreError
from repltap.sink_config import SinkConfig
from repltap.store.reader import StoreReader

if TYPE_CHECKING:  # `--help` is to be quick
    from repltap.delivery.progress import Progress

CRASHED = 1


@click.command()
@click.argument("name")
@click.option(
    "--until-end", is_flag=True, help="Deliver what is stored, commit and exit; for scripts."
)
@table_options("data_dir", "upstream", "upstream_name", "log_level", "log_json")
@sink_flag
def run(name: str, file: Path | None, *, until_end: bool, **flags: object) -> int:
    """Deliver to the sink NAME, from where it was left.

    It needs the data directory and the settings of the sink, from the same configuration file as
    the relay. A relay that has the sink configured delivers to it itself, and this is refused. It
    ends at SIGINT or SIGTERM, having committed. Snapshots that are not stored have to be fetched by
    a relay.

    \b
    repltap sink run audit --config repltap.toml --until-end
    repltap sink run stdout --data-dir ./data --sink stdout
    """
    config = load_tap(flags, os.environ, file)
    chosen = _find(config, name)
    prints = chosen.type == "stdout"
    with busy(f"delivering to {name}", shown=until_end and not prints) as tell:
        logs.setup(config.log)  # within: its lines must not be drawn over
        done = _deliver(config, chosen, until_end=until_end, tell=tell)
    if done is None:
        return CRASHED
    place = "nothing committed"
    if done.committed is not None:
        place = f"committed up to offset {done.committed.offset} of {done.committed.replid}"
        # Who only wanted to look would fill the disk with what nobody is going to fetch.
        place += f"; what follows is kept for it until `repltap sink reset {name}`"
    counts = f"{_counted(done.records, 'record')}, {_counted(done.commits, 'commit')}"
    click.echo(f"{name}: {counts}, {place}", err=True)
    return stdout_closed() if prints and is_unread() else 0


def _deliver(
    config: TapConfig, chosen: SinkConfig, *, until_end: bool, tell: Callable[[str], None]
) -> Progress | None:
    """Deliver until the end or a signal; None where the sink has crashed, which is logged."""
    from repltap.delivery.watch import FileBell
    from repltap.delivery.worker import deliver, yield_to_others

    def told(report: WorkerReport) -> None:
        tell(f"{_counted(report.records, 'record')}")
        # `repltap sink run stdout | head`: there will never be a reader again.
        if chosen.type == "stdout" and report.state is WorkerState.FAILED and is_unread():
            bell.stop()

    bell = FileBell(config.data_dir, told)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: bell.stop())
    yield_to_others()
    try:
        return deliver(
            chosen,
            data_dir=config.data_dir,
            source=_source(config),
            bell=bell,
            environ=os.environ,
            until_end=until_end,
        )
    except ReplTapError:
        raise
    except Exception:
        logging.getLogger(f"repltap.sink.{chosen.name}").exception("the sink has crashed")
        return None


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _find(config: TapConfig, name: str) -> SinkConfig:
    for found in config.sinks:
        if found.name == name:
            return found
    known = ", ".join(sorted(sink.name for sink in config.sinks)) or "none"
    raise ConfigError(f"no sink {name!r} is configured", hint=f"configured: {known}")


def _source(config: TapConfig) -> str:
    """Name the upstream as the relay's own workers do, also where only the store is given."""
    if config.source:
        return config.source
    try:
        histories = StoreReader(config.data_dir).histories
        return histories[-1].metadata.origin if histories else ""
    except StoreError:
        return ""  # what is wrong with the store is said by who reads it
