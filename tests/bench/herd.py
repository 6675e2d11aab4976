"""A hundred replicas that ask for a full sync at once, and what a connection costs in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from tests.bench.crowd import Crowd
from tests.bench.gauge import cpu, reset_peak
from tests.bench.report import Row
from tests.bench.stage import Plan, Variant, start_master, start_middle
from tests.bench.writer import Heartbeat, write_stream
from tests.servers.client import call
from tests.servers.lab import laboratory

_REPLICAS = 100
_VALUE_BYTES = 100_000
_WAIT_SECONDS = 900.0
_CONNECTIONS = (10, 100, 500)
_SETTLE_SECONDS = 1.2


def measure(plan: Plan, tell: Callable[[str], None]) -> Iterator[Row]:
    """Let the herd come to the relay alone: a chained server would fork for it itself."""
    yield from _herd(plan, tell)
    yield from _connections(plan, tell)


def _herd(plan: Plan, tell: Callable[[str], None]) -> Iterator[Row]:
    tell(f"{_REPLICAS} replicas at once, {plan.herd_bytes >> 20} MB")
    with laboratory() as lab, Crowd() as crowd:
        master = start_master(lab, plan)
        keys = plan.herd_bytes // _VALUE_BYTES
        call(master.port, "DEBUG", "POPULATE", keys, "key", _VALUE_BYTES, timeout_seconds=120)
        middle = start_middle(lab, plan, Variant.RELAY, master)
        empty_mb = middle.memory_bytes() / 1e6
        reset_peak(middle.pid)
        master_before, before = cpu(master.pid), cpu(middle.pid)
        with Heartbeat(master):
            start = time.monotonic()
            crowd.attach(middle.port, _REPLICAS)
            crowd.wait_online(_WAIT_SECONDS)
        found = crowd.status()
        used, master_used = cpu(middle.pid) - before, cpu(master.pid) - master_before
        peak_mb = middle.memory_bytes("VmHWM") / 1e6
        syncs = master.syncs.full
        assert len({replica["snapshot_bytes"] for replica in found}) == 1
    size_mb = found[0]["snapshot_bytes"] / 1e6
    group = f"{_REPLICAS} replicas at once, {size_mb:.0f} MB snapshot, 16 at a time"
    online = sorted(replica["online_at"] - start for replica in found)

    def row(name: str, unit: str, value: float, **goal: float) -> Row:
        return Row(group=group, name=name, unit=unit, relay=value, **goal)

    yield row("full syncs of the master", "", syncs, max_value=1)
    yield row("wall, to the first one online", "s", online[0])
    yield row("wall, to the last one online", "s", online[-1])
    yield row("sent, all together", "MB/s", size_mb * _REPLICAS / online[-1])
    yield row("CPU of the relay", "s", used.total)
    yield row("CPU of the master meanwhile", "s", master_used.total)
    yield row("RSS before", "MB", empty_mb)
    yield row("peak RSS", "MB", peak_mb, max_value=64)


def _connections(plan: Plan, tell: Callable[[str], None]) -> Iterator[Row]:
    group = "connections that stream"
    with laboratory() as lab, Crowd() as crowd:
        master = start_master(lab, plan)
        middle = start_middle(lab, plan, Variant.RELAY, master)
        before, found = 0, {0: middle.memory_bytes()}
        for count in _CONNECTIONS:
            tell(f"{count} connections")
            with Heartbeat(master):
                crowd.attach(middle.port, count - before)
                crowd.wait_online(_WAIT_SECONDS)
            before = count
            write_stream(master.port, 20_000, _WAIT_SECONDS)
            crowd.wait_offset(master.offset, _WAIT_SECONDS)
            time.sleep(_SETTLE_SECONDS)
            found[count] = middle.memory_bytes()
            yield Row(group=group, name=f"RSS with {count}", unit="MB", relay=found[count] / 1e6)
    few, many = _CONNECTIONS[-2:]
    yield Row(
        group=group,
        name=f"RSS for one more, from {few} to {many}",
        unit="KB",
        relay=(found[many] - found[few]) / (many - few) / 1e3,
        max_value=16,
    )
