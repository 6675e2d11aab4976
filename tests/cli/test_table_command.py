"""The help of commands that take every option: by section, and complete."""

from __future__ import annotations

import pytest

from repltap.cli.main import main
from repltap.cli.table_command import _TITLES
from repltap.options import OPTIONS


@pytest.mark.parametrize("command", [["run"], ["check"], ["config", "check"]], ids=" ".join)
def test_options_stand_under_their_section(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--help"]) == 0
    shown = capsys.readouterr().out
    own, *sections = shown.partition("\nOptions:\n")[2].split("]:\n")
    assert "--config FILE" in own
    assert len(sections) == len(_TITLES)
    for (section, title), text in zip(_TITLES.items(), sections, strict=True):
        assert title.endswith(f"[{section}]")
        for option in OPTIONS:
            listed = any(
                line.split()[0] == option.flag for line in text.splitlines() if line.strip()
            )
            assert listed is (option.section == section and not option.secret), option.flag
