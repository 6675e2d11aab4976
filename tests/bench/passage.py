"""The fixed stream that goes through the middle, and what that costs."""

from __future__ import annotations

import time

from tests.bench.crowd import Crowd
from tests.bench.gauge import cpu
from tests.bench.stage import Plan
from tests.bench.writer import Heartbeat, write_stream
from tests.servers.node import Node
from tests.servers.server import Server

_WAIT_SECONDS = 300.0
# The relay's group fsync and the chained server's cron go on for a moment: part of the cost.
_SETTLE_SECONDS = 1.2


def attach(crowd: Crowd, master: Server, port: int, count: int, *, ca_file: str = "") -> None:
    """Let replicas come to a port, and wait until all are in the stream."""
    with Heartbeat(master):
        crowd.attach(port, count, ca_file=ca_file)
        crowd.wait_online(_WAIT_SECONDS)


def measure_passage(plan: Plan, crowd: Crowd, master: Server, middle: Node) -> tuple[float, float]:
    """Send `plan.writes` commands through the middle to all of the crowd, after a few to warm up.

    Returns:
        CPU seconds of the middle, and seconds from the first write to the last replica.
    """
    write_stream(master.port, 1_000, _WAIT_SECONDS)
    crowd.wait_offset(master.offset, _WAIT_SECONDS)
    before, start = cpu(middle.pid), time.monotonic()
    write_stream(master.port, plan.writes, _WAIT_SECONDS)
    crowd.wait_offset(master.offset, _WAIT_SECONDS)
    wall_seconds = time.monotonic() - start
    time.sleep(_SETTLE_SECONDS)
    used = cpu(middle.pid) - before
    assert master.syncs.full == 1, "the middle was cut off by the master"
    return used.total, wall_seconds
