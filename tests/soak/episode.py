"""Runs the rounds of one episode: load, faults at the same time, quiet, checks."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Sequence

import hiredis

from tests.servers.dataset import wait_same
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.soak.checks import Checks
from tests.soak.faults.fault import MissedError
from tests.soak.ledger import Ledger
from tests.soak.plan import Strike, draw_round, generator
from tests.soak.report import Done, Tally
from tests.soak.topology import Disk, Topology
from tests.soak.world import BusyError, World

_SHORTEST_SECONDS = 1.0
_JOIN_SECONDS = 120.0


class RoundFailedError(Exception):
    """A round did not end as it must; `done` says what its faults did."""

    def __init__(self, message: str, done: Sequence[Done]) -> None:
        super().__init__(message)
        self.message = message
        self.done = done


class Episode:
    """One topology and its rounds.

    Args:
        lab: Owns the processes.
        topology: What is built.
        tally: Counted into.
        only: Names of the faults to draw from; empty for all.
    """

    def __init__(
        self, lab: Lab, topology: Topology, tally: Tally, only: frozenset[str] = frozenset()
    ) -> None:
        self._topology = topology
        self._tally = tally
        self._only = only
        self.ledger = Ledger(tally.full_syncs)
        self.world = World(lab, topology, self.ledger)
        self.checks = Checks(self.world)

    def start(self) -> None:
        """Build it, and wait until it is quiet.

        Raises:
            RoundFailedError: It does not become quiet.
        """
        try:
            self.world.start()
            self.checks.wait_quiet()
        except (AssertionError, OSError) as exc:
            raise RoundFailedError(f"the episode did not begin: {exc}", []) from exc

    def run_round(self, number: int) -> list[Done]:
        """Run one round.

        Returns:
            What its faults did.

        Raises:
            RoundFailedError: Something differs, or is not as it must be.
        """
        world, seed = self.world, self._tally.seed
        self.ledger.open(world.nodes, world.above)
        for relay in world.relays:
            if self._topology.needs_other_formats:
                self.ledger.excuse_refresh(relay, "a replica that can't load the stored format")
            if self._topology.disk is not Disk.PLAIN:
                self.ledger.excuse_refresh(relay, "the stored snapshot had to make room")
        strikes = draw_round(seed, number, self._topology, self._only)
        runners = [_Runner(strike, world) for strike in strikes]
        rng = generator(seed, "load", number)
        load = Load(
            world,
            features=self._topology.features,
            seed=rng.randrange(1 << 32),
            pause_seconds=rng.choice([0.0, 0.002, 0.01]),
        )
        problems: list[str] = []
        try:
            with load:
                for runner in runners:
                    runner.start()
                time.sleep(_SHORTEST_SECONDS)
                for runner in runners:
                    runner.join()
            problems += [runner.failure for runner in runners if runner.failure]
            if not problems:
                self._quiet_down()
                problems += self.ledger.close()
                problems += self.checks.problems()
        except (AssertionError, OSError, hiredis.ReplyError) as exc:
            problems.append(_text(exc))
        self._count(runners, load)
        done = [runner.done for runner in runners if runner.done]
        if problems:
            raise RoundFailedError("\n".join(problems), done)
        return done

    def finish(self) -> None:
        """Let a new replica attach to each relay: what is stored must be the master's data.

        Raises:
            RoundFailedError: It is not.
        """
        world = self.world
        newcomers = [world.newcomer(relay) for relay in world.relays]
        try:
            for newcomer in newcomers:
                newcomer.start()
            for newcomer in newcomers:
                newcomer.wait_link(60)
            wait_same(world.master, *newcomers, timeout_seconds=60)
        except (AssertionError, OSError) as exc:
            raise RoundFailedError(f"new replicas at the episode's end: {_text(exc)}", []) from exc

    def close(self) -> None:
        """End everything."""
        self.world.close()

    def _quiet_down(self) -> None:
        self.world.calm()
        self.world.reconcile()
        self.checks.wait_quiet()

    def _count(self, runners: list[_Runner], load: Load) -> None:
        tally = self._tally
        tally.commands += load.written
        tally.max_rss_bytes = max(tally.max_rss_bytes, self.checks.max_rss_bytes)
        tally.refusals += self.world.refusals
        self.world.refusals = 0
        tally.damaged.update(f"{kind}: refused at the start" for kind in self.world.refused)
        self.world.refused.clear()
        tally.damaged += self.checks.damaged
        self.checks.damaged.clear()
        for runner in runners:
            if runner.done:
                counter = tally.faults if runner.done.struck else tally.missed
                counter[runner.done.name] += 1


class _Runner:
    """One fault in a thread of its own."""

    def __init__(self, strike: Strike, world: World) -> None:
        self._strike = strike
        self._world = world
        self._thread = threading.Thread(target=self._run, name=strike.fault.name, daemon=True)
        self._begun = time.monotonic()
        self.done: Done | None = None
        self.failure = ""

    def start(self) -> None:
        self._begun = time.monotonic()
        self._thread.start()

    def join(self) -> None:
        self._thread.join(_JOIN_SECONDS)
        if self._thread.is_alive():
            self.failure = f"the fault {self._strike.fault.name} has not ended"

    def _run(self) -> None:
        time.sleep(self._strike.at_seconds)
        fault = self._strike.fault
        begin = time.monotonic() - self._begun
        struck = False
        try:
            what, struck = fault.strike(self._world), True
        except BusyError as exc:
            what = f"{exc} is busy"
        except (MissedError, OSError, hiredis.ReplyError) as exc:
            what = str(exc) or repr(exc)
        except AssertionError as exc:
            what = self.failure = _text(exc)
        except Exception:  # noqa: BLE001 - a fault of the soak itself must not look like success
            what = self.failure = traceback.format_exc()
        self.done = Done(fault.name, begin, time.monotonic() - self._begun, what, struck)


def _text(exc: BaseException) -> str:
    cause = f" ({exc.__cause__})" if exc.__cause__ else ""
    return f"{exc or repr(exc)}{cause}"
