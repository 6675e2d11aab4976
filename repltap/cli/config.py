"""`repltap config check`: is the configuration right, without starting anything."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import click

from repltap.addresses import host_port
from repltap.cli.effective import effective
from repltap.cli.options import config_file, json_flag, sink_flag
from repltap.cli.output import show_json
from repltap.cli.strays import stray_variables
from repltap.cli.table_command import TableCommand
from repltap.config import Config, UpstreamConfig, load
from repltap.config_sources import read_sources
from repltap.delivery.settings import read_all_settings, unknown_commands


@click.group()
def config() -> None:
    """Look at the configuration, without starting anything."""


@config.command(cls=TableCommand)
@config_file
@sink_flag
@json_flag
def check(file: Path | None, as_json: bool, **flags: object) -> None:
    """Check the configuration that `repltap run` would have.

    The file, the environment and the flags are read as `repltap run` reads them, sinks and their
    settings included; password files and certificates must be there. Nothing is connected to. It
    exits with 2, and says why, if anything is wrong. Variables that look like an option and are
    none are told.

    \b
    repltap config check --config /etc/repltap/repltap.toml
    REPLTAP_DATA_DIR=./data repltap config check --upstream redis://127.0.0.1:6379
    """
    made = load_checked(flags, file)
    warnings = stray_variables(os.environ, made.sinks, made.listen.users)
    warnings += unknown_commands(read_all_settings(made.sinks, os.environ))
    if as_json:
        show_json({"valid": True, "warnings": warnings})
        return
    for warning in warnings:
        click.echo(f"repltap: warning: {warning}", err=True)
    sinks = ", ".join(f"{sink.name} ({sink.type})" for sink in made.sinks) or "none"
    http = host_port(made.http.host, made.http.port) if made.http else "off"
    listen = " and ".join(host_port(where.host, where.port) for where in made.listen.endpoints)
    click.echo(
        f"the configuration is valid: master {_master(made.upstream)}, "
        f"listen {listen}, http {http}, "
        f"data in {made.store.data_dir}, sinks: {sinks}"
    )


def _master(upstream: UpstreamConfig) -> str:
    if (path := upstream.socket_path) is not None:
        return path
    if upstream.sentinel is not None:
        return f"{upstream.sentinel.master_name} (its sentinels say where)"
    return host_port(upstream.host, upstream.port)


def load_checked(flags: Mapping[str, object], file: Path | None) -> Config:
    """Build the configuration, the settings of sinks and the files of TLS included.

    Raises:
        ConfigError: It is wrong.
    """
    made = load(flags, os.environ, file)
    read_all_settings(made.sinks, os.environ)
    http = made.http.tls if made.http else None
    for tls in (made.upstream.client_tls, made.listen.tls, http):
        if tls is not None:
            tls.load()
    return made


def print_config(flags: Mapping[str, object], file: Path | None) -> None:
    """Print the configuration as TOML.

    Raises:
        ConfigError: It is wrong.
    """
    load_checked(flags, file)
    click.echo(effective(read_sources(flags, os.environ, file), os.environ, file), nl=False)
