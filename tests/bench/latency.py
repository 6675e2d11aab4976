"""How much later a write reaches a replica of the middle than a replica of the master."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.bench.crowd import Crowd
from tests.bench.gauge import cpu, percentile
from tests.bench.report import Row
from tests.bench.stage import Plan, Variant, start_master, start_middle
from tests.bench.writer import Heartbeat, write_paced
from tests.servers.lab import laboratory

_WAIT_SECONDS = 60.0


@dataclass(slots=True)
class _Runs:
    """All rounds of one variant.

    Attributes:
        added_us: Of each write, microseconds.
        cpu_seconds: Of the middle, over all writes.
    """

    added_us: list[float] = field(default_factory=list)
    cpu_seconds: float = 0.0


def measure(plan: Plan, tell: Callable[[str], None]) -> Iterator[Row]:
    """Write at an even pace, in turns through both; pool what came out."""
    found = {Variant.CHAINED: _Runs(), Variant.RELAY: _Runs()}
    for repeat in range(plan.repeats):
        for variant, runs in found.items():
            tell(f"latency, {variant.value}, {repeat + 1}/{plan.repeats}")
            _run(plan, variant, runs)
    chained, relay = found.values()
    writes = plan.samples * plan.repeats
    group = f"{writes:,} writes, {plan.per_second:,} a second, 1 replica"
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        yield Row(
            group=group,
            name=f"added latency {name}",
            unit="µs",
            chained=percentile(chained.added_us, share),
            relay=percentile(relay.added_us, share),
            max_ratio=1.0,
        )
    yield Row(
        group=group,
        name="CPU of the middle for 1000 writes",
        unit="ms",
        chained=chained.cpu_seconds / writes * 1e6,
        relay=relay.cpu_seconds / writes * 1e6,
    )


def _run(plan: Plan, variant: Variant, runs: _Runs) -> None:
    with laboratory() as lab, Crowd() as crowd:
        master = start_master(lab, plan)
        middle = start_middle(lab, plan, variant, master)
        with Heartbeat(master):
            crowd.attach(master.port, record=True)
            crowd.attach(middle.port, record=True)
            crowd.wait_online(_WAIT_SECONDS)
        write_paced(master.port, 200, plan.per_second)  # not counted: they are overwritten below
        crowd.wait_offset(master.offset, _WAIT_SECONDS)
        before = cpu(middle.pid)
        write_paced(master.port, plan.samples, plan.per_second)
        crowd.wait_offset(master.offset, _WAIT_SECONDS)
        runs.cpu_seconds += (cpu(middle.pid) - before).total
        direct, through = (arrival_times(crowd.arrivals(index)) for index in range(2))
        assert len(direct) == len(through) == plan.samples
        runs.added_us += [(through[number] - direct[number]) / 1e3 for number in direct]


def arrival_times(arrivals: list[tuple[int, bytes]]) -> dict[int, int]:
    """Return when each numbered write was there, ns; a later one of the same number counts."""
    stream = b"".join(data for _, data in arrivals)
    ends = []
    end = 0
    for _, data in arrivals:
        end += len(data)
        ends.append(end)
    times: dict[int, int] = {}
    read = 0
    for match in re.finditer(rb"seq:(\d{8})\r\n\$64\r\nv{64}\r\n", stream):
        while ends[read] < match.end():
            read += 1
        times[int(match[1])] = arrivals[read][0]
    return times
