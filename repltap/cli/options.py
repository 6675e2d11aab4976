"""Options that several commands share, made from the table that `repltap run` uses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from repltap.options import OPTIONS, Option
from repltap.sink_config import VARIABLE as SINK_VARIABLE

_F = TypeVar("_F", bound=Callable[..., Any])  # Any: click's own callback type

config_file = click.option(
    "--config",
    "file",
    metavar="FILE",
    envvar="REPLTAP_CONFIG",
    type=click.Path(path_type=Path),
    help="A TOML file with the options of `repltap run`.",
)

sink_flag = click.option(
    "--sink",
    "sink",
    metavar="SPEC",
    multiple=True,
    help="A sink: TYPE[:TARGET][,name=value...]; sink=NAME names it. Can be repeated.  "
    f"[env: {SINK_VARIABLE}, with spaces between]",
)

json_flag = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def flag(option: Option) -> click.Option:
    """Make the flag of an option in the table."""
    shown = f"{option.help}  [default: {option.default}]" if option.default else option.help
    if option.metavar == "BOOL":
        return click.Option([option.flag], help=shown, is_flag=True, flag_value="yes", default=None)
    return click.Option([option.flag], help=shown, metavar=option.metavar)


def table_options(*keys: str) -> Callable[[_F], _F]:
    """Give a command options of the table, by `Option.key`, and `--config`.

    Their variables are read with the rest of the environment, by `repltap.config`.
    """
    chosen = [option for option in OPTIONS if option.key in keys]

    def decorate(command: _F) -> _F:
        command = config_file(command)
        for option in reversed(chosen):
            shown = f"{option.help}  [env: {option.variable}]"
            command = click.option(option.flag, option.key, metavar=option.metavar, help=shown)(
                command
            )
        return command

    return decorate
