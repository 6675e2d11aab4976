"""Wall clocks that jump in a running relay; see `tests.soak.clockwork`."""

from __future__ import annotations

from tests.soak.clockwork import set_shift
from tests.soak.faults.fault import Fault
from tests.soak.topology import Topology
from tests.soak.world import World, linger


class ClockJump(Fault):
    """Hours forwards and backwards, a few times."""

    name = "clock jump"
    weight = 7
    legitimate = "none: nothing waits by the wall clock"
    _JUMPS = (-86_400.0, -7_200.0, -61.0, -3.0, 0.0, 3.0, 61.0, 7_200.0, 86_400.0)

    @classmethod
    def possible(cls, topology: Topology) -> bool:
        return topology.jumpy_clock

    def strike(self, world: World) -> str:
        relay = self.rng.choice(world.relays)
        assert relay.clock is not None
        shifts = []
        for _ in range(self.rng.randint(1, 4)):
            shift = self.rng.choice(self._JUMPS)
            set_shift(relay.clock, shift)
            shifts.append(f"{shift:+g} s")
            linger(self.rng, 0.05, 0.6)
        return f"{relay.name}: {', '.join(shifts)}"
