"""A child process with a log file, started and ended in every way that a test wants."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from tests.servers.secrets import Place, leaks
from tests.servers.waiting import PATIENCE_SECONDS

_LOG_TAIL_BYTES = 6_000


class Process:
    """One program, started any number of times; its output is appended to one log.

    Attributes:
        name: What the tests call it.
        directory: Its working directory.
        leaks: Where it has shown a secret while it ran.
    """

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory
        self.leaks: list[str] = []
        self._frozen = False
        directory.mkdir(parents=True, exist_ok=True)
        self._log_path = directory / f"{name}.log"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Return the process id of the running child."""
        assert self._child is not None, f"{self.name} was never started"
        return self._child.pid

    @property
    def running(self) -> bool:
        """Tell whether the child is there."""
        return self._child is not None and self._child.poll() is None

    @property
    def log(self) -> str:
        """Return everything that it has printed."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    @property
    def log_tail(self) -> str:
        """Return the end of what it has printed."""
        return self.log[-_LOG_TAIL_BYTES:]

    def start(self) -> None:
        """Start it, without waiting until it is ready."""
        raise NotImplementedError

    def spawn(self, argv: Sequence[str | Path], environ: Mapping[str, str] | None = None) -> None:
        """Start the child, which must not be running."""
        assert not self.running, f"{self.name} runs already"
        self._frozen = False
        with self._log_path.open("ab") as log:
            self._child = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env=dict(environ) if environ is not None else None,
            )

    def shown(self) -> Iterator[Place]:
        """Give what it shows to others while it runs: what stands in the process list."""
        for pid in (self.pid, *(child.pid for child in self.children())):
            with suppress(OSError):  # it has ended
                yield f"the command line of {self.name}", Path(f"/proc/{pid}/cmdline").read_bytes()

    def search(self) -> None:
        """Search what it shows for secrets, if it runs."""
        if self.running and not self._frozen:
            self.leaks += leaks(self.shown())

    def all_leaks(self) -> list[str]:
        """Give where it has shown a secret, its log included, over all its lives."""
        return self.leaks + leaks([(f"the log of {self.name}", self.log.encode())])

    def stop(self, timeout_seconds: float = PATIENCE_SECONDS) -> int:
        """Ask it to end (SIGTERM) and return its exit code."""
        self.search()
        return self._end(signal.SIGTERM, timeout_seconds)

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        self._end(signal.SIGKILL, PATIENCE_SECONDS)

    def freeze(self) -> None:
        """Stop it in its tracks (SIGSTOP)."""
        os.kill(self.pid, signal.SIGSTOP)
        self._frozen = True

    def thaw(self) -> None:
        """Let a frozen child go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)
        self._frozen = False

    def wait(self, timeout_seconds: float = PATIENCE_SECONDS) -> int:
        """Wait for its own end and return its exit code."""
        assert self._child is not None, f"{self.name} was never started"
        return self._child.wait(timeout_seconds)

    def children(self) -> list[psutil.Process]:
        """Return the processes that it has started."""
        try:
            return list(psutil.Process(self.pid).children(recursive=True))
        except psutil.NoSuchProcess:
            return []

    def memory_bytes(self, field: str = "VmRSS") -> int:
        """Return resident memory, now (`VmRSS`) or at its highest (`VmHWM`)."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {field} for {self.name}")

    def _end(self, signum: int, timeout_seconds: float) -> int:
        if self._child is None:
            return 0
        if self.running:
            self._child.send_signal(signum)
        return self._child.wait(timeout_seconds)
