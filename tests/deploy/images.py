"""The Dockerfile and what its image sets and runs, read."""

from __future__ import annotations

import shlex
from pathlib import Path

from repltap.cli.run import run
from repltap.config import Config, load
from repltap.delivery.registry import find_sink
from repltap.delivery.settings import read_settings

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "deploy" / "docker"


class Stage:
    """One stage of the Dockerfile: its instructions in order, continued lines joined."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.steps: list[tuple[str, str]] = []

    def all(self, instruction: str) -> list[str]:
        return [text for name, text in self.steps if name == instruction]


def stages() -> list[Stage]:
    text = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    found: list[Stage] = []
    for line in lines.replace("\\\n", " ").splitlines():
        name, _, rest = line.strip().partition(" ")
        if name == "FROM":
            found.append(Stage(rest.split()[0]))
        elif name:
            found[-1].steps.append((name, rest.strip()))
    return found


def environment() -> dict[str, str]:
    """What the image sets."""
    words = shlex.split(" ".join(stages()[-1].all("ENV")))
    return dict(word.split("=", 1) for word in words)


def configuration(
    arguments: list[str], environ: dict[str, str], file: Path | None = None
) -> Config:
    """What `repltap` makes of a container's command, by its own parsers; sinks' settings too."""
    assert arguments[0] == "run"
    flags = run.make_context("run", arguments[1:]).params
    flags.pop("file")
    config = load(flags, environ, file)
    for sink in config.sinks:
        read_settings(sink, find_sink(sink.type, sink.origin), environ)
    return config
