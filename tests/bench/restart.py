"""How long a relay needs, from its start, until a replica that was connected before has its bytes.

The journal is a synthetic one of 10 GB: holes of sparse files, with indexes that are right. What a
start reads of it is what it would read of a real one; the rest, the background check excepted, is
never looked at. The relay's master is away, so nothing but the store is waited for.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from repltap.store.appender import MAX_INDEX_BYTES
from repltap.store.format import RECORD_BYTES
from repltap.store.options import StoreOptions
from repltap.store.store import Store
from tests.bench.report import Row
from tests.bench.stage import Plan
from tests.journals import START, sparse_store
from tests.servers.lab import Lab, laboratory
from tests.servers.ports import free_port
from tests.servers.raw import RawReplica
from tests.servers.relay import Relay
from tests.stored import REPLID

_SEGMENT_BYTES = 64 << 20
_GOAL_SECONDS = 1.0
_BEHIND_BYTES = 1000
"""How far the replica is behind, so that there is a byte to serve."""


def measure(plan: Plan, tell: Callable[[str], None]) -> Iterator[Row]:
    """Start relays on journals of one and of many segments, busy ones and a quiet one."""
    many = 16 if plan.repeats == 1 else 160
    quiet = _SEGMENT_BYTES // (MAX_INDEX_BYTES // RECORD_BYTES)
    group = "restart, until the first byte is served"
    for name, count, record_bytes in (
        ("1 segment of 64 MB", 1, None),
        (f"{many} segments", many, None),
        (f"{many} segments, a quiet master's", many, quiet),
    ):
        opened, served = [], []
        for repeat in range(plan.repeats):
            tell(f"{name}, {repeat + 1}/{plan.repeats}")
            with laboratory() as lab:
                data = lab.directory / "relay" / "data"
                data.mkdir(parents=True)
                sparse_store(
                    data,
                    segments=count,
                    segment_bytes=_SEGMENT_BYTES,
                    last_record_bytes=record_bytes,
                )
                opened.append(_open(data))
                served.append(_serve(lab, START + count * _SEGMENT_BYTES))
        yield Row(group=group, name=f"{name}: store", unit="s", relay=statistics.median(opened))
        yield Row(
            group=group,
            name=f"{name}: process",
            unit="s",
            relay=statistics.median(served),
            max_value=_GOAL_SECONDS,
        )


def _open(data: Path) -> float:
    """Time `Store.open` alone."""
    before = time.perf_counter()
    store = Store.open(data, StoreOptions())
    taken = time.perf_counter() - before
    store.close()
    return taken


def _serve(lab: Lab, end: int) -> float:
    """Time from the start of the process to the replica's last byte."""
    relay = Relay(lab.directory / "relay", "relay", free_port(), {"store_min_free_bytes": "0"})
    lab.nodes.append(relay)  # the lab ends it
    before = time.perf_counter()
    relay.start()
    while True:
        try:
            with RawReplica(relay.port) as replica:
                replica.send(f"PSYNC {REPLID} {end - _BEHIND_BYTES + 1}\r\n".encode())
                assert replica.line().startswith(b"+CONTINUE")
                replica.read(_BEHIND_BYTES)
                return time.perf_counter() - before
        except ConnectionRefusedError:
            time.sleep(0.002)
