"""`repltap sink types`: what is installed, and what can be set."""

import json

import pytest

from repltap.cli.main import main
from repltap.delivery.options import COMMON
from repltap.delivery.registry import find_sink, sink_types


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["sink", "types", *words]) == 0
    return capsys.readouterr().out


def test_all_types_are_listed_with_what_they_do(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys).splitlines()[2:]
    assert [line.split()[0] for line in lines] == sink_types()
    assert all(len(line.split()) > 4 for line in lines)
    found = json.loads(shown(capsys, "--json"))["types"]
    assert {"type": "file", "target": "path"}.items() <= found[0].items()


@pytest.mark.parametrize("kind", sink_types())
def test_every_option_of_a_type_is_listed(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    options = find_sink(kind, "here").options
    listed = {line.split()[0] for line in shown(capsys, kind).splitlines() if line.startswith(" ")}
    assert {option.name for option in (*options, *COMMON)} <= listed
    document = json.loads(shown(capsys, kind, "--json"))
    assert [each["name"] for each in document["options"]] == [option.name for option in options]
    secrets = {each["name"] for each in document["options"] if each["secret"]}
    assert secrets == {option.name for option in options if option.secret}


def test_a_type_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sink", "types", "flie"]) == 2
    assert "did you mean file?" in capsys.readouterr().err


def test_a_type_whose_library_is_absent_does_not_hide_the_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repltap.cli.sink_types.sink_types", lambda: ["file", "absent.module:Sink"])
    lines = shown(capsys).splitlines()[2:]
    assert "can't be imported" in lines[1]
