"""How long a client waits in `WAIT 1` for the middle, by ACK policy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from tests.bench.gauge import percentile
from tests.bench.report import Row
from tests.bench.stage import Plan, Variant, start_master, start_middle
from tests.servers.lab import laboratory

_POLICIES = ("received", "durable", "quorum:1")
_WRITES = 1_000
_ROUND_MS = 10_000


def measure(plan: Plan, tell: Callable[[str], None]) -> Iterator[Row]:
    """Write and wait, one after the other; the chained server is the same for every policy."""
    tell("WAIT, chained")
    chained = _run(plan, Variant.CHAINED, "")
    for policy in _POLICIES:
        tell(f"WAIT, relay, {policy}")
        relay = _run(plan, Variant.RELAY, policy)
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            yield Row(
                group=f"SET and WAIT 1, one client, 1 replica, ack_policy {policy}",
                name=f"wait {name}",
                unit="µs",
                chained=percentile(chained, share),
                relay=percentile(relay, share),
            )


def _run(plan: Plan, variant: Variant, policy: str) -> list[float]:
    with laboratory() as lab:
        master = start_master(lab, plan)
        options = {"upstream_ack_policy": policy} if policy else {}
        middle = start_middle(lab, plan, variant, master, options)
        replica = lab.server(plan.server, "replica", upstream=middle)
        replica.wait_link()
        waited = []
        with master.client() as client:
            for number in range(_WRITES // 10 if plan.repeats == 1 else _WRITES):
                client.call("SET", "key", number)
                began = time.perf_counter()
                assert client.call("WAIT", 1, _ROUND_MS) == 1
                waited.append((time.perf_counter() - began) * 1e6)
        return waited
