"""A sink's worker as a child process, started by hand as `repltap sink run` lets its users."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.servers.process import Process
from tests.servers.relay import REPOSITORY


class Worker(Process):
    """Delivers to one sink from a data directory.

    Args:
        data_dir: Of the relay beside it.
        spec: Of `--sink`.
        sink: Its name.
        settings: More of its settings.
    """

    def __init__(
        self,
        directory: Path,
        data_dir: Path,
        spec: str,
        *,
        sink: str,
        settings: Mapping[str, str | int | float] | None = None,
    ) -> None:
        super().__init__(sink, directory)
        self.data_dir = data_dir
        given = ",".join(f",{name}={value}" for name, value in (settings or {}).items())
        self.spec = f"{spec},sink={sink}{given}".replace(",,", ",")

    def start(self, *, until_end: bool = False) -> None:
        """Start it."""
        words = [sys.executable, "-m", "repltap", "sink", "run", self.name]
        words += ["--data-dir", str(self.data_dir), "--sink", self.spec]
        self.spawn([*words, *(["--until-end"] if until_end else [])], self._environ())

    def _environ(self) -> Mapping[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("REPLTAP_")}
        path = os.pathsep.join(filter(None, (str(REPOSITORY), clean.get("PYTHONPATH"))))
        return clean | {"PYTHONPATH": path}
