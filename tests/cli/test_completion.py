"""Completion: the scripts, and a real bash that uses one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from repltap.cli.main import main

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert f"_REPLTAP_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_another_shell(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert "'bash', 'zsh', 'fish'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("repltap sna", {"snapshot"}),
        ("repltap journal ", {"ls", "verify", "cat"}),
        ("repltap run --upstream-pass", {"--upstream-password-file"}),
        ("repltap completion f", {"fish"}),
    ],
)
def test_bash_completes(tmp_path: Path, words: str, found: set[str]) -> None:
    program = tmp_path / "repltap"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m repltap "$@"\n')
    program.chmod(0o755)
    empty = " ''" if words.endswith(" ") else ""
    script = (
        'eval "$(repltap completion bash)"; complete -p repltap >/dev/null || exit 9; '
        f"COMP_WORDS=({words}{empty}); "
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); "
        "_repltap_completion repltap; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PATH": path, "PYTHONPATH": str(REPOSITORY)},
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == found
