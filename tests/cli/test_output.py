"""How commands print."""

import json
import os
from pathlib import Path

import pytest

from repltap.cli.output import busy, is_unread, moment, progress, show, show_json
from repltap.cli.sections import Cell, Section


def test_plain_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show([Section("Title", ("a", "b"), ((Cell("1"), Cell("2")),))])
    assert capsys.readouterr().out == "Title\n  a  b\n  1  2\n"


def test_a_table_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    show([Section("Title", ("a", "b"), ((Cell("1"), Cell("2")),))])
    assert "╭" in capsys.readouterr().out


@pytest.mark.parametrize(("columns", "boxed"), [("38", True), ("37", False)])
def test_a_table_that_does_not_fit_loses_nothing(
    columns: str, boxed: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by a new user: at 80 columns `repltap status` had sinks without their names."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", columns)
    row = (Cell("a-long-name-of-a-sink"), Cell("streaming"), Cell("1234567"))
    narrow = Section("Narrow", ("x",), ((Cell("1"),),))
    show([narrow, Section("Wide", ("sink", "state", "offset"), (row,), frozenset((2,)))])
    first, second = capsys.readouterr().out.split("Wide")
    assert "╭" in first  # each for itself
    assert ("╭" in second) is boxed
    for whole in ("streaming", "1234567", "a-long-name"):
        assert whole in second


@pytest.mark.parametrize(
    ("columns", "shown"),
    [("90", {"name", "b", "c", "d"}), ("60", {"name", "c", "d"}), ("48", {"name", "d"})],
)
def test_what_can_be_spared_is_left_out_first(
    columns: str,
    shown: set[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", columns)
    cells = [Cell("127.0.0.1:20000"), *(Cell(name * 16) for name in "bcd")]
    show([Section("T", ("name", "b", "c", "d"), (tuple(cells),), frozenset((2, 3)), spare=(1, 2))])
    out = capsys.readouterr().out
    assert "127.0.0.1:20000" in out
    assert {name for name in shown | {"b", "c", "d"} if name == "name" or name * 16 in out} == shown


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    show_json({"a": [1, None]})
    assert json.loads(capsys.readouterr().out) == {"a": [1, None]}


def test_progress_is_for_terminals(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with progress("reading", 10) as meter:
        meter.begin("writing", 20)
        meter.advance(10)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress("reading", 10) as meter:
        meter.begin("writing", 20)
        meter.advance(10)
    out, err = capsys.readouterr()
    assert out == ""
    assert "writing" in err


def test_what_has_no_known_end_is_for_terminals(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with busy("delivering") as tell:
        tell("7 records")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with busy("delivering", shown=False) as tell:
        tell("7 records")
    assert capsys.readouterr() == ("", "")
    with busy("delivering") as tell:
        tell("7 records")
    out, err = capsys.readouterr()
    assert out == ""
    assert "delivering" in err


def test_moment() -> None:
    assert moment(None) == "-"
    assert len(moment(1e9)) == len("2001-09-09 01:46:40")


def test_a_pipe_that_nobody_reads(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    assert not is_unread(writing)
    os.close(reading)
    assert is_unread(writing)
    os.close(writing)
    with open(tmp_path / "file", "wb") as file:
        assert not is_unread(file.fileno())
