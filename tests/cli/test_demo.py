"""What `repltap demo` makes of its flags; the play itself is in tests/demo."""

from collections.abc import Callable
from pathlib import Path

import pytest

from repltap.cli.main import main
from repltap.demo import stage
from repltap.demo.stage import DemoSettings


def test_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[DemoSettings] = []

    def run_demo(settings: DemoSettings, say: Callable[[str], None]) -> int:
        seen.append(settings)
        return 5

    monkeypatch.setattr(stage, "run_demo", run_demo)
    assert main(["demo"]) == 5
    assert main(["demo", "--server", "s", "--rate", "7", "--seconds", "1.5", "--dir", "d"]) == 5
    assert seen == [
        DemoSettings(),
        DemoSettings(server="s", rate=7, seconds=1.5, directory=Path("d")),
    ]
    assert main(["demo", "--rate", "0"]) == 2


def test_a_server_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--server", "/no/such/server"]) == 1
    assert capsys.readouterr().err == "repltap: error: /no/such/server: no such program\n"
