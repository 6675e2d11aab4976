"""`repltap run`: the relay. Its flags are the option table; its work is `repltap.app`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from repltap import logs
from repltap.config import load
from repltap.options import OPTIONS, Option


def _flag(option: Option) -> click.Option:
    shown = f"{option.help}  [default: {option.default}]" if option.default else option.help
    if option.metavar == "BOOL":
        return click.Option([option.flag], help=shown, is_flag=True, flag_value="yes", default=None)
    return click.Option([option.flag], help=shown, metavar=option.metavar)


def _options(command: Callable[..., Any]) -> click.Command:  # Any: click's own callback type
    flags = [_flag(option) for option in OPTIONS if not option.secret]
    made = click.command(
        name="run",
        epilog="Every option is also a variable (--upstream-announce-ip: "
        "REPLTAP_UPSTREAM_ANNOUNCE_IP) and a line of the configuration file. Passwords are given "
        "by variable or file only: REPLTAP_UPSTREAM_PASSWORD, REPLTAP_LISTEN_PASSWORD.",
    )(command)
    made.params.extend(flags)
    return made


@_options
@click.option(
    "--config",
    "file",
    metavar="FILE",
    envvar="REPLTAP_CONFIG",
    type=click.Path(path_type=Path),
    help="A TOML file with the same options.",
)
def run(file: Path | None, **flags: object) -> int:
    """Relay a master's replication to any number of replicas.

    \b
    repltap run --upstream redis://127.0.0.1:6379 --listen 127.0.0.1:6380 \\
                --http 127.0.0.1:8380 --data-dir ./data
    """
    config = load(flags, os.environ, file)
    logs.setup(config.log)
    from repltap import app

    return app.run(config)
