"""A process beside the benchmark: what loads a node must not take the benchmark's own time."""

from __future__ import annotations

import subprocess
import sys
from types import TracebackType
from typing import Self

from tests.servers.relay import REPOSITORY


class Child:
    """A module of the benchmarks in a process of its own; killed at the end of the `with` block.

    Args:
        module: Run with `python -m`.
        arguments: Its arguments.
    """

    def __init__(self, module: str, *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def hear(self) -> str:
        """Wait for the next line that it says, "" if it has ended."""
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def say(self, line: str) -> None:
        """Give it a line.

        Raises:
            BrokenPipeError: It has ended.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
