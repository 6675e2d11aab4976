"""What clients that monitor cost: the middle, the master, and the replicas below the middle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

from tests.bench.crowd import Crowd
from tests.bench.gauge import cpu, percentile
from tests.bench.latency import arrival_times
from tests.bench.report import Row
from tests.bench.stage import Plan, Variant, start_master, start_middle
from tests.bench.viewers import MARK, Viewers
from tests.bench.writer import Heartbeat, write_paced, write_stream
from tests.servers.lab import laboratory
from tests.servers.node import Node

_WAIT_SECONDS = 300.0
_COUNTS = (0, 1, 10)
_SHARE = 5
"""Of the writes of `throughput`: all of them are shown, ten times over."""


@dataclass(slots=True)
class _Runs:
    """All rounds of one variant with so many clients.

    Attributes:
        middle, whole, master: CPU seconds of the fixed stream: of the middle's own process, with
            the process that makes lines, and of the master.
        added_us: Of each paced write.
    """

    middle: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    master: list[float] = field(default_factory=list)
    added_us: list[float] = field(default_factory=list)


def measure(plan: Plan, tell: Callable[[str], None]) -> Iterator[Row]:
    """Run a stream, and paced writes, through both with 0, 1 and 10 clients that monitor."""
    found = {(v, n): _Runs() for n in _COUNTS for v in (Variant.CHAINED, Variant.RELAY)}
    for repeat in range(plan.repeats):
        for (variant, count), runs in found.items():
            tell(f"monitor, {variant.value}, {count} clients, {repeat + 1}/{plan.repeats}")
            _run(plan, variant, count, runs)
    for count in _COUNTS:
        chained, relay = found[Variant.CHAINED, count], found[Variant.RELAY, count]
        group = f"{count} clients that monitor, 1 replica"
        writes = f"{plan.writes // _SHARE:,} SETs"
        for name, figure in (
            (f"CPU of the middle, {writes}", "middle"),
            ("the same with the process that makes the lines", "whole"),
            ("CPU of the master", "master"),
        ):
            yield Row(
                group=group,
                name=name,
                unit="s",
                chained=median(getattr(chained, figure)),
                relay=median(getattr(relay, figure)),
                max_ratio=1.0 if figure == "middle" else None,
            )
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            yield Row(
                group=group,
                name=f"added latency {name}, {plan.per_second:,} writes a second",
                unit="µs",
                chained=percentile(chained.added_us, share),
                relay=percentile(relay.added_us, share),
            )


def _run(plan: Plan, variant: Variant, count: int, runs: _Runs) -> None:
    with laboratory() as lab, Crowd() as crowd, ExitStack() as stack:
        master = start_master(lab, plan)
        middle = start_middle(lab, plan, variant, master)
        with Heartbeat(master):
            crowd.attach(master.port, record=True)
            crowd.attach(middle.port, record=True)
            crowd.wait_online(_WAIT_SECONDS)
        viewers = stack.enter_context(Viewers(middle.port, count)) if count else None

        def settled() -> None:
            master.call("SET", MARK, "1")
            crowd.wait_offset(master.offset, _WAIT_SECONDS)
            if viewers is not None:
                viewers.expect("seen")

        write_stream(master.port, 1_000, _WAIT_SECONDS)
        settled()
        before = cpu(middle.pid).own, _whole(middle), cpu(master.pid).own
        write_stream(master.port, plan.writes // _SHARE, _WAIT_SECONDS)
        settled()
        after = cpu(middle.pid).own, _whole(middle), cpu(master.pid).own
        for total, used in zip(
            (runs.middle, runs.whole, runs.master),
            (b - a for a, b in zip(before, after, strict=True)),
            strict=True,
        ):
            total.append(used)
        write_paced(master.port, plan.samples, plan.per_second)
        settled()
        direct, through = (arrival_times(crowd.arrivals(index)) for index in range(2))
        runs.added_us += [(through[number] - direct[number]) / 1e3 for number in direct]


def _whole(middle: Node) -> float:
    return cpu(middle.pid).own + sum(cpu(child.pid).own for child in middle.children())
