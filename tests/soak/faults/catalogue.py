"""All faults."""

from __future__ import annotations

from tests.soak.faults import clients, clocks, disks, links, masters, moves, processes, stores
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
    moves.MoveReplica,
    moves.MoveRelay,
    moves.Newcomer,
    stores.Damage,
    stores.Wipe,
    disks.Burst,
    disks.Ballast,
    clocks.ClockJump,
    clients.Garbage,
)
