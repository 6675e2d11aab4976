"""Four replicas that attach one after the other to a large dataset: what it costs whom."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.bench.crowd import Crowd
from tests.bench.gauge import cpu, reset_peak
from tests.bench.report import Row
from tests.bench.stage import Plan, Variant, start_master, start_middle
from tests.bench.writer import VALUE_BYTES, Heartbeat
from tests.servers.client import call
from tests.servers.lab import laboratory
from tests.servers.node import Node

_REPLICAS = 4
_WAIT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class _Run:
    """One variant.

    Attributes:
        master_cpu, middle_cpu: Seconds, with forked children, the middle's own sync included.
        wall_seconds: From the first replica's PSYNC until all four have stream bytes.
        start_mb, arriving_mb, arrived_mb, serving_mb, served_mb: Resident memory of the middle:
            empty, at its peak while its own sync arrives, then, at its peak while it serves, then.
    """

    master_forks: int
    middle_forks: int
    master_cpu: float
    middle_cpu: float
    wall_seconds: float
    slowest_seconds: float
    snapshot_mb: float
    arriving_mb: float
    arrived_mb: float
    serving_mb: float
    served_mb: float


def measure(plan: Plan, tell: Callable[[str], None]) -> Iterator[Row]:
    """Run each variant once: the counts are exact and the times are long."""
    found = {}
    for variant in Variant:
        tell(f"{_REPLICAS} replicas attach, {variant.value}")
        found[variant] = _run(plan, variant)
    direct, chained, relay = (found[variant] for variant in Variant)
    group = (
        f"{_REPLICAS} replicas, {plan.spacing_seconds:g} s apart, {plan.keys:,} keys "
        f"({relay.snapshot_mb:.0f} MB snapshot)"
    )

    def row(name: str, unit: str, field: str, *, of_middle: bool = False, **goal: float) -> Row:
        return Row(
            group=group,
            name=name,
            unit=unit,
            direct=None if of_middle else getattr(direct, field),
            chained=getattr(chained, field),
            relay=getattr(relay, field),
            **goal,
        )

    yield row("forks of the master, middle's sync included", "", "master_forks", max_value=1)
    yield row("forks of the middle", "", "middle_forks", of_middle=True)
    yield row("CPU of the master and its forks", "s", "master_cpu")
    yield row("CPU of the middle and its forks", "s", "middle_cpu", of_middle=True)
    yield row("wall, first attach to all online", "s", "wall_seconds")
    yield row("wall, the slowest replica's sync", "s", "slowest_seconds")
    yield row("peak RSS, own sync arriving", "MB", "arriving_mb", of_middle=True, max_value=64)
    yield row("RSS after it", "MB", "arrived_mb", of_middle=True, max_value=64)
    yield row("peak RSS, replicas attaching", "MB", "serving_mb", of_middle=True, max_value=64)
    yield row("RSS after that", "MB", "served_mb", of_middle=True, max_value=64)


def _run(plan: Plan, variant: Variant) -> _Run:
    with laboratory() as lab, Crowd() as crowd:
        master = start_master(lab, plan)
        call(master.port, "DEBUG", "POPULATE", plan.keys, "key", VALUE_BYTES, timeout_seconds=120)
        master_before = cpu(master.pid)
        middle = start_middle(lab, plan, variant, master)
        arriving_mb, arrived_mb = _memory(middle)
        reset_peak(middle.pid)
        with Heartbeat(master):
            start = time.monotonic()
            for number in range(_REPLICAS):
                time.sleep(max(0.0, start + number * plan.spacing_seconds - time.monotonic()))
                crowd.attach(middle.port)
            crowd.wait_online(_WAIT_SECONDS)
        replicas = crowd.status()
        # The last fork is waited for by its parent's cron, and counts only then.
        time.sleep(1.0)
        serving_mb, served_mb = _memory(middle)
        is_direct = variant is Variant.DIRECT
        return _Run(
            master_forks=_forks(master),
            middle_forks=0 if is_direct else _forks(middle),
            master_cpu=(cpu(master.pid) - master_before).total,
            middle_cpu=0.0 if is_direct else cpu(middle.pid).total,
            wall_seconds=max(r["online_at"] for r in replicas) - replicas[0]["attached_at"],
            slowest_seconds=max(r["online_at"] - r["attached_at"] for r in replicas),
            snapshot_mb=replicas[0]["snapshot_bytes"] / 1e6,
            arriving_mb=arriving_mb,
            arrived_mb=arrived_mb,
            serving_mb=serving_mb,
            served_mb=served_mb,
        )


def _memory(node: Node) -> tuple[float, float]:
    """Return peak and present."""
    return node.memory_bytes("VmHWM") / 1e6, node.memory_bytes() / 1e6


def _forks(node: Node) -> int:
    return int(node.info("stats").get("total_forks", 0))
