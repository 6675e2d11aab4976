"""Options that several commands share."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from repltap.cli.options import (
    flag,
    from_redis_cli,
    redis_cli_environment,
    redis_cli_flags,
    table_options,
)
from repltap.errors import ConfigError
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


@click.command()
@redis_cli_flags
@table_options("upstream", "upstream_username")
def ask(file: Path | None, **flags: object) -> None:
    click.echo(from_redis_cli(flags))


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("-h m -p 7", {"upstream": "redis://m:7", "upstream_username": None}),
        ("-h ::1", {"upstream": "redis://[::1]:6379", "upstream_username": None}),
        ("-p 7", {"upstream": "redis://127.0.0.1:7", "upstream_username": None}),
        ("--user u", {"upstream": None, "upstream_username": "u"}),
        ("--upstream redis://x", {"upstream": "redis://x", "upstream_username": None}),
    ],
)
def test_redis_clis_names(words: str, shown: dict[str, object]) -> None:
    result = CliRunner().invoke(ask, words.split(), catch_exceptions=False)
    assert result.output == f"{shown}\n"


@pytest.mark.parametrize("words", ["-h m --upstream redis://x", "--user a --upstream-username b"])
def test_the_same_in_two_ways(words: str) -> None:
    assert CliRunner().invoke(ask, words.split()).exit_code == 2


@pytest.mark.parametrize("words", ["-a hunter2", "--pass hunter2"])
def test_no_password_on_the_command_line(words: str) -> None:
    with pytest.raises(ConfigError, match="visible in the process list") as caught:
        CliRunner().invoke(ask, words.split(), catch_exceptions=False)
    assert "hunter2" not in str(caught.value)
    assert CliRunner().invoke(ask, ["--help"]).exit_code == 0


@pytest.mark.parametrize(
    ("flags", "environ", "password"),
    [
        ({"host": "m"}, {}, "auth"),
        ({"port": 7}, {}, "auth"),
        # Only as redis-cli does, and only where nothing else says one.
        ({"upstream": "redis://m"}, {}, None),
        ({"host": "m"}, {"REPLTAP_UPSTREAM_PASSWORD": "ours"}, "ours"),
    ],
)
def test_redis_clis_own_variable(
    flags: dict[str, object], environ: dict[str, str], password: str | None
) -> None:
    found = redis_cli_environment(flags, environ | {"REDISCLI_AUTH": "auth"}, None)
    assert found.get("REPLTAP_UPSTREAM_PASSWORD") == password
