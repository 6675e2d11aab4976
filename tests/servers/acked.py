"""Writes whose WAIT is noted, to see afterwards which of them are still there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType

import hiredis

from tests.servers.client import Client
from tests.servers.node import Node
from tests.servers.server import Server

WAIT_MS = 300


class Acked:
    """Writes numbers to whoever is the master, in a thread (`with`), and notes what WAIT said.

    A write is *confirmed by all* when WAIT counted every replica that the master had, and all that
    are in place were among them: Redis promises for no less that a failover keeps it.

    Args:
        client: Opens a connection to the master.
        in_place: Who has to be among the replicas, ports; asked anew for each write. So has to be
            whoever was one before: when it is gone it may have been promoted.
        below: Replicas below the relays: each must have what its relay has acknowledged.
    """

    def __init__(
        self,
        client: Callable[[], Client],
        in_place: Callable[[], set[int]],
        below: Sequence[Server],
    ) -> None:
        self._client = client
        self._in_place = in_place
        self._below = below
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._number = 0
        self.by_all: set[int] = set()
        self.by_one: set[int] = set()
        self._seen: dict[int, set[int]] = {}  # replicas by master
        self.early: list[str] = []  # acknowledged by a relay, and not there below it

    def __enter__(self) -> Acked:
        self._stopping.clear()
        self._seen.clear()
        self._thread = threading.Thread(target=self._run, name="acked", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        assert self._thread is not None
        self._thread.join(60)
        if self._failure is not None and error is None:
            raise AssertionError("the writer failed") from self._failure

    def missing(self, master: Server, numbers: set[int]) -> list[int]:
        """List which of the writes a server does not have."""
        ordered = sorted(numbers)
        with master.client() as client:
            found = client.pipeline([("EXISTS", f"acked:{number}") for number in ordered])
        return [number for number, there in zip(ordered, found, strict=True) if there != 1]

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._client() as client:
                    while not self._stopping.is_set():
                        self._write(client)
            except (OSError, hiredis.ReplyError):  # the test's doing: down, frozen, no master
                time.sleep(0.02)
            except BaseException as exc:  # noqa: BLE001 - told by `__exit__`
                self._failure = exc
                return

    def _write(self, client: Client) -> None:
        self._number += 1
        number, wanted = self._number, self._in_place()
        _, count, info = (
            client.call("SET", f"acked:{number}", number),
            client.call("WAIT", len(wanted), WAIT_MS),
            client.call("INFO", "replication").decode(),
        )
        lines = [line for line in info.splitlines() if line.startswith("slave") and "port=" in line]
        ports = {int(line.partition("port=")[2].partition(",")[0]) for line in lines}
        seen = self._seen.setdefault(client.port, set())
        seen |= ports
        if count >= 1:
            self.by_one.add(number)
        if count >= len(lines) and wanted <= ports and seen <= ports:
            for replica in self._below:
                if not _has(replica, number):
                    self.early.append(f"{number} is not on {replica.name}")
            self.by_all.add(number)


def _has(replica: Node, number: int) -> bool:
    return bool(replica.call("EXISTS", f"acked:{number}") == 1)
