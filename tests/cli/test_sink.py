"""`repltap sink` with commands that come from elsewhere."""

from importlib.metadata import EntryPoint, EntryPoints

import click
import pytest

from repltap.cli import sink as module
from repltap.cli.main import main

NOT_A_COMMAND = object()


@click.command()
@click.argument("word")
def shout(word: str) -> None:
    """Say it loudly."""
    click.echo(word.upper())


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    places = {
        "shout": f"{__name__}:shout",
        "odd": f"{__name__}:NOT_A_COMMAND",
        "lost": "no_such_module_at_all:command",
    }
    entries = [EntryPoint(name, value, module.GROUP) for name, value in places.items()]

    def entry_points(**wanted: str) -> EntryPoints:
        return EntryPoints(entries).select(**wanted)

    monkeypatch.setattr(module, "entry_points", entry_points)
    # The module is not importable by its name in importlib mode.
    loaded = {"shout": shout, "odd": NOT_A_COMMAND}
    load = EntryPoint.load
    monkeypatch.setattr(
        EntryPoint, "load", lambda self: loaded[self.name] if self.name in loaded else load(self)
    )


def test_a_command_of_a_sink_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sink", "shout", "word"]) == 0
    assert capsys.readouterr().out == "WORD\n"


def test_help_lists_them_also_where_one_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sink", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Say it loudly." in shown
    assert "lost" in shown
    assert "odd" in shown


@pytest.mark.parametrize(
    ("name", "why"),
    [("lost", "can't be imported: ModuleNotFoundError"), ("odd", "is no click command")],
)
def test_a_broken_one_says_so_when_it_is_called(
    capsys: pytest.CaptureFixture[str], name: str, why: str
) -> None:
    assert main(["sink", name, "--any", "thing"]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith(f"repltap: error: the command {name} (")
    assert why in shown.err


def test_one_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sink", "nothing"]) == 2
    assert "No such command 'nothing'" in capsys.readouterr().err
