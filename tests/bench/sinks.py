"""What sinks cost the relay: its own CPU seconds, and the latency it adds, without and with four.

The column `chained` is the relay without sinks here. Of the four one crashes again and again, three
write every command to files as fast as they can, on the processors that the relay is on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median

from tests.bench.crowd import Crowd
from tests.bench.gauge import cpu, percentile
from tests.bench.latency import arrival_times
from tests.bench.report import Row
from tests.bench.stage import Plan, Variant, start_master, start_middle
from tests.bench.writer import Heartbeat, write_paced, write_stream
from tests.servers.jotter import TYPE
from tests.servers.lab import Lab, laboratory
from tests.servers.node import Node
from tests.servers.relay import Relay
from tests.servers.waiting import wait_for

_WAIT_SECONDS = 300.0
_FILES = 3
_SHARE = 5
"""Of the writes of `throughput`: each sink decodes and writes all of them."""


def measure(plan: Plan, tell: Callable[[str], None]) -> Iterator[Row]:
    """Run a stream, and paced writes, through a relay without and with sinks, in turns."""
    seconds: dict[bool, list[float]] = {False: [], True: []}
    added: dict[bool, list[float]] = {False: [], True: []}
    for repeat in range(plan.repeats):
        for busy in (False, True):
            tell(f"sinks, {'four' if busy else 'none'}, {repeat + 1}/{plan.repeats}")
            used, times = _run(plan, busy)
            seconds[busy].append(used)
            added[busy] += times
    group = "four busy sinks, one crashing in a loop; `chained`: none"
    yield Row(
        group=group,
        name=f"CPU of the relay itself, {plan.writes // _SHARE:,} SETs, 1 replica",
        unit="s",
        chained=median(seconds[False]),
        relay=median(seconds[True]),
        max_ratio=1.5,
    )
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        yield Row(
            group=group,
            name=f"added latency {name}",
            unit="µs",
            chained=percentile(added[False], share),
            relay=percentile(added[True], share),
        )


def _run(plan: Plan, busy: bool) -> tuple[float, list[float]]:
    """Return CPU seconds, and the added latency of each paced write, microseconds."""
    with laboratory() as lab, Crowd() as crowd:
        master = start_master(lab, plan)
        options = {"sink": " ".join(_specs(lab))} if busy else None
        middle = start_middle(lab, plan, Variant.RELAY, master, options)
        with Heartbeat(master):
            crowd.attach(master.port, record=True)
            crowd.attach(middle.port, record=True)
            crowd.wait_online(_WAIT_SECONDS)
        write_stream(master.port, 1_000, _WAIT_SECONDS)
        crowd.wait_offset(master.offset, _WAIT_SECONDS)
        if busy:
            wait_for("the sinks", lambda: _at_work(middle))
        before = cpu(middle.pid)
        write_stream(master.port, plan.writes // _SHARE, _WAIT_SECONDS)
        crowd.wait_offset(master.offset, _WAIT_SECONDS)
        # While the sinks still work off what has come.
        write_paced(master.port, plan.samples, plan.per_second)
        crowd.wait_offset(master.offset, _WAIT_SECONDS)
        used = (cpu(middle.pid) - before).own  # before it is asked how its sinks are
        if busy:
            wait_for("the sinks", lambda: _at_end(middle), _WAIT_SECONDS)
        direct, through = (arrival_times(crowd.arrivals(index)) for index in range(2))
        return used, [(through[number] - direct[number]) / 1e3 for number in direct]


def _specs(lab: Lab) -> list[str]:
    crashing = lab.directory / "crashing.jsonl"
    crashing.with_suffix(".jsonl.fault").write_text("crash")
    files = [f"file:{lab.directory}/out-{n}.jsonl,sink=file-{n}" for n in range(_FILES)]
    return [*files, f"{TYPE}:{crashing},sink=crashing"]


def _at_work(middle: Node) -> bool:
    assert isinstance(middle, Relay)
    sinks = {each["name"]: each for each in middle.status()["sinks"]}
    crashed = sinks.pop("crashing")["restarts"] > 0
    return crashed and all(each["records"] > 0 for each in sinks.values())


def _at_end(middle: Node) -> bool:
    assert isinstance(middle, Relay)
    sinks = middle.status()["sinks"]
    return all(each["lag_bytes"] == 0 for each in sinks if each["name"] != "crashing")
