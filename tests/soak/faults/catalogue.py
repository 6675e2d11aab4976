"""All faults."""

from __future__ import annotations

from tests.soak.faults import links, masters, processes
from tests.soak.faults.fault import Fault

CATALOGUE: tuple[type[Fault], ...] = (
    links.Cut,
    links.CutAtByte,
    links.Refused,
    links.Stall,
    links.LongStall,
    links.Delay,
    links.Throttle,
    links.Split,
    links.HalfOpen,
    processes.KillRelay,
    processes.StopRelay,
    processes.KillReplica,
    processes.CutInTransfer,
    processes.Freeze,
    processes.LongFreeze,
    masters.Failover,
    masters.PlannedFailover,
    masters.RelayPicked,
    masters.MasterForgets,
    masters.MasterRestarts,
    masters.OutgrownBacklog,
)
