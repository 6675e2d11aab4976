"""A sink's worker as a child process, started by hand as `repltap sink run` lets its users."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.servers.process import Process
from tests.servers.relay import REPOSITORY


class Worker(Process):
    """Delivers to one sink from a data directory.

    Args:
        data_dir: Of the relay beside it.
        spec: Of `--sink`.
        sink: Its name.
        settings: More of its settings.
        before: What is put before its command line.
    """

    def __init__(
        self,
        directory: Path,
        data_dir: Path,
        spec: str,
        *,
        sink: str,
        settings: Mapping[str, str | int | float] | None = None,
        before: Sequence[str] = (),
    ) -> None:
        super().__init__(sink, directory)
        self.data_dir = data_dir
        self._before = before
        given = ",".join(f",{name}={value}" for name, value in (settings or {}).items())
        self.spec = f"{spec},sink={sink}{given}".replace(",,", ",")

    def start(self, *, until_end: bool = False) -> None:
        """Start it."""
        words = [*self._before, sys.executable, "-m", "repltap", "sink", "run", self.name]
        words += ["--data-dir", str(self.data_dir), "--sink", self.spec]
        self.spawn([*words, *(["--until-end"] if until_end else [])], self._environ())

    def deliver_all(self) -> None:
        """Deliver everything that is stored."""
        self.start(until_end=True)
        assert self.wait(60) == 0, self.log_tail

    @property
    def place(self) -> dict[str, Any]:
        """The place in its checkpoint, {} for none yet."""
        path = self.data_dir / "checkpoints" / f"{self.name}.json"
        try:
            found = json.loads(path.read_text())["place"]
        except FileNotFoundError:
            return {}
        assert isinstance(found, dict)
        return found

    def _environ(self) -> Mapping[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("REPLTAP_")}
        path = os.pathsep.join(filter(None, (str(REPOSITORY), clean.get("PYTHONPATH"))))
        return clean | {"PYTHONPATH": path}
