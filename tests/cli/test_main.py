"""How the command ends: exit codes, and one line for every error."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from repltap.cli import main as module
from repltap.cli.check import FAILED
from repltap.cli.main import EXIT_CODES, main
from repltap.errors import ConfigError, ListenError, ReplTapError


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> click.Group:
    group = click.Group("repltap")
    monkeypatch.setattr(module, "cli", group)
    return group


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("x: wrong", hint="do y"), 2, "repltap: error: x: wrong (do y)\n"),
        (ListenError("in use"), 3, "repltap: error: in use\n"),
        (ReplTapError("anything"), 1, "repltap: error: anything\n"),
        (ReplTapError("said \x1b]0;x\x07\r"), 1, "repltap: error: said ?]0;x??\n"),
    ],
)
def test_an_error_is_one_line_and_its_code(
    command: click.Group,
    capsys: pytest.CaptureFixture[str],
    error: ReplTapError,
    code: int,
    line: str,
) -> None:
    @command.command("fail")
    def fail() -> None:
        raise error

    assert main(["fail"]) == code
    assert capsys.readouterr() == ("", line)


def test_the_result_of_a_command_is_the_exit_code(command: click.Group) -> None:
    command.add_command(click.Command("seven", callback=lambda: 7))
    command.add_command(click.Command("none", callback=lambda: None))
    assert main(["seven"]) == 7
    assert main(["none"]) == 0


def test_interrupted(command: click.Group) -> None:
    @command.command("wait")
    def wait() -> None:
        raise KeyboardInterrupt

    assert main(["wait"]) == 130


def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no-such-command"]) == 2
    assert "No such command" in capsys.readouterr().err
    assert main(["run", "--no-such-flag"]) == 2


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("repltap 0.")
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in ("run", "demo", "status"):
        assert f"  {name} " in shown


def test_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "repltap", "run"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": ""},
    )
    assert done.returncode == 2
    assert done.stderr.startswith("repltap: error: --upstream is missing")
    assert done.stderr.count("\n") == 1


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    code = f"{sys.executable} -m repltap run --help | head -n 1 >/dev/null; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 141)  # whether head was gone in time is chance


def commands(found: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(found, click.Group):
        context = click.Context(found, info_name=path)
        for name in found.list_commands(context):
            below = found.get_command(context, name)
            assert below is not None
            yield from commands(below, f"{path} {name}")
    else:
        yield path, found


@pytest.mark.parametrize(("path", "found"), list(commands(module.cli, "repltap")))
def test_every_command_has_an_example(path: str, found: click.Command) -> None:
    assert f"{path}" in (found.help or "")


def groups(found: click.Command, path: str) -> Iterator[tuple[str, click.Group]]:
    if isinstance(found, click.Group):
        yield path, found
        for name, below in found.commands.items():
            yield from groups(below, f"{path} {name}")


@pytest.mark.parametrize(("path", "found"), list(groups(module.cli, "repltap")))
def test_no_line_of_a_list_of_commands_is_cut(path: str, found: click.Group) -> None:
    """In a terminal of 80 columns; found by a new user."""
    context = click.Context(found, info_name=path, terminal_width=80)
    cut = [line for line in found.get_help(context).split("\n") if line.endswith("...")]
    assert cut == [f"Usage: {path} [OPTIONS] COMMAND [ARGS]..."]


def test_every_exit_code_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    first = [line.split()[0] for line in EXIT_CODES.splitlines() if line.startswith("  ")]
    told = {int(word) for word in first if word.isdigit()}
    assert EXIT_CODES.splitlines()[5].strip() in capsys.readouterr().out
    codes = {FAILED}
    classes = [ReplTapError]
    for one in classes:
        codes.add(one.exit_code)
        classes += one.__subclasses__()
    assert codes <= told
