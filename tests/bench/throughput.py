"""CPU seconds of the middle for a fixed stream, by the number of replicas; its memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

from tests.bench.crowd import Crowd
from tests.bench.passage import attach, measure_passage
from tests.bench.report import Row
from tests.bench.stage import Plan, Variant, start_master, start_middle
from tests.servers.lab import laboratory


@dataclass(frozen=True, slots=True)
class _Run:
    cpu_seconds: float
    wall_seconds: float
    rss_mb: float
    peak_mb: float


def measure(plan: Plan, tell: Callable[[str], None]) -> Iterator[Row]:
    """Run the stream through both, in turns, for each number of replicas."""
    for count in plan.counts:
        runs: dict[Variant, list[_Run]] = {Variant.CHAINED: [], Variant.RELAY: []}
        for repeat in range(plan.repeats):
            for variant, done in runs.items():
                tell(f"stream, {count} replicas, {variant.value}, {repeat + 1}/{plan.repeats}")
                done.append(_run(plan, variant, count))
        chained, relay = (_median(done) for done in runs.values())
        group = f"{plan.writes:,} SETs of 64 bytes, {count} replica{'s' * (count > 1)}"

        def row(name: str, unit: str, field: str, **goal: float) -> Row:
            return Row(
                group=group,  # noqa: B023 - called in this turn of the loop
                name=name,
                unit=unit,
                chained=getattr(chained, field),  # noqa: B023
                relay=getattr(relay, field),  # noqa: B023
                **goal,
            )

        yield row("CPU of the middle", "s", "cpu_seconds", max_ratio=0.25)
        yield row("wall, first write to last replica", "s", "wall_seconds")
        yield row("RSS", "MB", "rss_mb", max_value=64)
        yield row("peak RSS", "MB", "peak_mb", max_value=64)


def _run(plan: Plan, variant: Variant, count: int) -> _Run:
    with laboratory() as lab, Crowd() as crowd:
        master = start_master(lab, plan)
        middle = start_middle(lab, plan, variant, master)
        attach(crowd, master, middle.port, count)
        cpu_seconds, wall_seconds = measure_passage(plan, crowd, master, middle)
        run = _Run(
            cpu_seconds,
            wall_seconds,
            middle.memory_bytes() / 1e6,
            middle.memory_bytes("VmHWM") / 1e6,
        )
        if plan.profile is not None and variant is Variant.RELAY:
            middle.stop()
        return run


def _median(runs: list[_Run]) -> _Run:
    return _Run(
        median(run.cpu_seconds for run in runs),
        median(run.wall_seconds for run in runs),
        median(run.rss_mb for run in runs),
        median(run.peak_mb for run in runs),
    )
