"""The process of raw replicas, seen from the benchmark."""

from __future__ import annotations

import json
import subprocess
import sys
from types import TracebackType
from typing import Any

from tests.servers.relay import REPOSITORY
from tests.servers.waiting import wait_for


class Crowd:
    """Raw replicas in a process of their own; ended with the `with` block.

    Raises:
        AssertionError: One of them has failed (each method); its traceback is on standard error.
    """

    def __init__(self) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.replicas"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )

    def __enter__(self) -> Crowd:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._child.kill()
        self._child.wait(10)
        for pipe in (self._child.stdin, self._child.stdout):
            assert pipe is not None
            pipe.close()

    def attach(
        self,
        port: int,
        count: int = 1,
        *,
        record: bool = False,
        check: bool = False,
        ca_file: str = "",
    ) -> None:
        """Let replicas connect to `port`, by TLS with `ca_file`, and ask for a full sync."""
        self._ask("attach", port, count, record, check, ca_file)

    def status(self) -> list[dict[str, Any]]:
        """Return how far each is, in the order of their attaching."""
        found = self._ask("status")
        assert isinstance(found, list)
        return found

    def arrivals(self, index: int) -> list[tuple[int, bytes]]:
        """Return when (CLOCK_MONOTONIC, ns) which stream bytes came to one that records."""
        found = self._ask("arrivals", index)
        assert isinstance(found, list)
        return [(at, text.encode("latin-1")) for at, text in found]

    def wait_offset(self, offset: int, timeout_seconds: float) -> None:
        """Wait until all have read the stream up to `offset`."""
        wait_for(
            f"all raw replicas are at {offset}",
            lambda: all(replica["offset"] >= offset for replica in self.status()),
            timeout_seconds,
        )

    def wait_online(self, timeout_seconds: float) -> None:
        """Wait until each has got a stream byte; somebody must write meanwhile."""
        wait_for(
            "all raw replicas are online",
            lambda: all(replica["online_at"] for replica in self.status()),
            timeout_seconds,
        )

    def _ask(self, *command: object) -> object:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            self._child.stdin.write(json.dumps(command) + "\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            raise AssertionError("the process of raw replicas has ended") from None
        answer = self._child.stdout.readline()
        assert answer, "the process of raw replicas has ended"
        return json.loads(answer)
