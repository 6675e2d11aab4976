"""`repltap run`: the relay. Its flags are the option table; its work is `repltap.app`."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path

import click

from repltap import logs
from repltap.cli.options import config_file, sink_flag
from repltap.cli.table_command import TableCommand
from repltap.config import load

log = logging.getLogger("repltap.app")


@click.command(
    cls=TableCommand,
    epilog="Every option is also a variable (--upstream-announce-ip: "
    "REPLTAP_UPSTREAM_ANNOUNCE_IP) and a line of the configuration file. Passwords are given "
    "by variable or file only: REPLTAP_UPSTREAM_PASSWORD, REPLTAP_LISTEN_PASSWORD, "
    "REPLTAP_SINK_<NAME>_<SETTING>.",
)
@config_file
@sink_flag
@click.option(
    "--print-config",
    is_flag=True,
    help="Print what is configured, as TOML and without secrets, and exit.",
)
def run(file: Path | None, print_config: bool, **flags: object) -> int:
    """Relay a master's replication to any number of replicas.

    \b
    repltap run --upstream redis://127.0.0.1:6379 --listen 127.0.0.1:6380 \\
                --http 127.0.0.1:8380 --data-dir ./data
    """
    if print_config:
        from repltap.cli import config as shown

        shown.print_config(flags, file)
        return 0
    # What it asks to be read again may have been read already when it comes, and it would end a
    # process that has no handler yet: it waits until the relay takes it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        return _run(flags, file)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def _run(flags: dict[str, object], file: Path | None) -> int:
    config = load(flags, os.environ, file)
    logs.setup(config.log)
    from repltap import app
    from repltap.cli.strays import stray_variables
    from repltap.rereading import Sources

    for stray in stray_variables(os.environ, config.sinks, config.listen.users):
        log.warning("%s", stray)

    return app.run(config, Sources(flags, dict(os.environ), file))
