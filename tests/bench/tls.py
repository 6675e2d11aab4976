"""What TLS on both sides costs: CPU seconds of the middle for a fixed stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median

from tests.bench.crowd import Crowd
from tests.bench.passage import attach, measure_passage
from tests.bench.report import Row
from tests.bench.stage import Plan, Variant, start_master, start_middle
from tests.servers.find import Feature
from tests.servers.lab import laboratory

_MOST_REPLICAS = 8
"""Each has its own encryption, so that more say nothing new."""


def measure(plan: Plan, tell: Callable[[str], None]) -> Iterator[Row]:
    """Run the stream through both, in turns, with TLS; and through the relay without."""
    if Feature.TLS not in plan.server.features:
        tell(f"{plan.server.name} has no TLS")
        return
    for count in (one for one in plan.counts if one <= _MOST_REPLICAS):
        runs: dict[tuple[Variant, bool], list[tuple[float, float, float]]] = {
            (Variant.CHAINED, True): [],
            (Variant.RELAY, True): [],
            (Variant.RELAY, False): [],
        }
        for repeat in range(plan.repeats):
            for (variant, secured), done in runs.items():
                with_tls = "with" if secured else "without"
                tell(f"{with_tls} TLS, {count} replicas, {variant.value}, {repeat + 1}")
                done.append(_run(plan, variant, count, secured=secured))
        chained, relay, plain = (
            [median(run[number] for run in done) for number in range(3)] for done in runs.values()
        )
        group = f"TLS on both sides, {plan.writes:,} SETs of 64 bytes, {count} replica(s)"
        yield Row(group=group, name="CPU of the middle", unit="s", chained=chained[0],
                  relay=relay[0], max_ratio=1.0)  # fmt: skip
        yield Row(group=group, name="wall", unit="s", chained=chained[1], relay=relay[1])
        yield Row(group=group, name="peak RSS", unit="MB", chained=chained[2], relay=relay[2],
                  max_value=80)  # fmt: skip
        yield Row(group=group, name="CPU of the relay without TLS", unit="s", relay=plain[0])


def _run(plan: Plan, variant: Variant, count: int, *, secured: bool) -> tuple[float, float, float]:
    """Return CPU seconds, wall seconds, and the peak of resident MB."""
    with laboratory() as lab, Crowd() as crowd:
        pair = lab.authority.issue() if secured else None
        master = start_master(lab, plan, pair)
        options = {"listen_tls_auth_clients": "no"} if secured else {}
        middle = start_middle(lab, plan, variant, master, options, pair)
        if secured and variant is Variant.CHAINED:
            middle.call("CONFIG", "SET", "tls-auth-clients", "no")
        port = middle.tls_port if secured else middle.port
        attach(crowd, master, port, count, ca_file=str(pair.ca_file) if pair else "")
        cpu_seconds, wall_seconds = measure_passage(plan, crowd, master, middle)
        return cpu_seconds, wall_seconds, middle.memory_bytes("VmHWM") / 1e6
