"""The process of raw replicas, seen from the benchmark."""

from __future__ import annotations

import json
from typing import Any

from tests.bench.child import Child
from tests.servers.waiting import wait_for


class Crowd(Child):
    """Raw replicas in a process of their own; ended with the `with` block.

    Raises:
        AssertionError: One of them has failed (each method); its traceback is on standard error.
    """

    def __init__(self) -> None:
        super().__init__("tests.bench.replicas")

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
        try:
            self.say(json.dumps(command))
        except BrokenPipeError:
            raise AssertionError("the process of raw replicas has ended") from None
        answer = self.hear()
        assert answer, "the process of raw replicas has ended"
        return json.loads(answer)
