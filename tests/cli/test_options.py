"""Options that several commands share."""

from pathlib import Path

import click
from click.testing import CliRunner

from repltap.cli.options import flag, table_options
from repltap.options import OPTIONS


def test_table_options_are_those_of_the_table() -> None:
    @click.command()
    @table_options("data_dir", "upstream_password_file")
    def command(file: Path | None, **flags: object) -> None:
        click.echo(f"{file} {flags}")

    runner = CliRunner()
    shown = runner.invoke(command, ["--data-dir", "d", "--config", "c"]).output
    assert shown == "c {'data_dir': 'd', 'upstream_password_file': None}\n"
    help_text = runner.invoke(command, ["--help"]).output
    assert "REPLTAP_UPSTREAM_PASSWORD_FILE" in help_text


def test_every_option_makes_a_flag() -> None:
    for option in OPTIONS:
        made = flag(option)
        assert made.name == option.key
        assert made.opts == [option.flag]
