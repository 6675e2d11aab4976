"""A master that dies in the middle of a command, and a relay that does so within a switch."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.servers.dying import STEPS
from tests.servers.effort import generator
from tests.servers.lab import Lab
from tests.servers.relay import Relay
from tests.servers.shire import Shire, cut_off, full_syncs
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.relay_only

# More of them take long: REPLTAP_FAILOVER_ROUNDS=100 for a thorough run.
ROUNDS = int(os.environ.get("REPLTAP_FAILOVER_ROUNDS", "4"))


@pytest.mark.parametrize("everybody", [False, True], ids=["ahead", "same-byte"])
@pytest.mark.parametrize(
    ("place", "after"), [(b"MULTI\r\n", 3_000), (b"large-value", 150_000)], ids=["multi", "value"]
)
def test_within_a_transaction_or_a_value(
    lab: Lab, place: bytes, after: int, everybody: bool
) -> None:
    """The master dies where a command has begun; the relay stands where a replica would."""
    shire = Shire(lab, "valkey-9.1" if everybody else "redis-7.0")
    late = ["oracle", "relay", *(["two"] if everybody else [])]
    cut_off(shire, late, place, after)
    if not everybody:
        wait_for("one has it all", lambda: shire.other.offset == shire.master.offset)
    shire.promote()
    shire.settle()
    assert shire.granted() == [1, 1]
    shire.compare_borders()
    shire.write(40, seed=3)
    shire.settle()


def test_killed_at_each_step_of_a_switch(lab: Lab) -> None:
    """However far it came with the new replid, the next start takes it up from there."""
    shire = Shire(lab, "redis-7.0")
    cut_off(shire, ["oracle", "relay", "two"], b"MULTI\r\n", 3_000)
    # What it has not yet covered when it is killed it has not got: the oracle has.
    wait_for("it is stored", lambda: shire.relay.durable_offset == shire.relay.offset)
    shire.promote(lead=False)
    shire.relay.kill()
    shire.lead(shire.master)
    for step in STEPS:
        dying = _Dying(shire.relay.directory, f"relay at {step}", shire.wires["relay"].port, {})
        dying.step, dying.data_dir = step, shire.relay.data_dir
        dying.port = shire.relay.port
        lab.add(dying)
        assert dying.wait() == -signal.SIGKILL, dying.log_tail
    shire.relay.restart()
    shire.settle()
    assert shire.granted() == [1, 1]
    assert [full_syncs(node) for node in (shire.sub, shire.below, shire.lower)] == [1, 1, 1]
    shire.compare_borders()
    shire.write(40, seed=3)
    shire.settle()


def test_killed_at_any_moment_of_a_switch(lab: Lab) -> None:
    """One switch after the other, and a kill somewhere in each."""
    rng = generator("kills amid a switch")
    shire = Shire(lab, "redis-7.0")
    torn = before = 0
    for number in range(ROUNDS):
        other_is_ahead = rng.random() < 0.5
        if other_is_ahead:
            shire.drift(-5, seed=number)
        else:
            shire.write(5, seed=number)
            shire.settle(shire.other)  # level: else the oracle might have more than the relay
        shire.hand_over()
        # Real time: which moment that is, is left to chance.
        time.sleep(rng.choice([0.0, rng.uniform(0, 0.05), rng.uniform(0, 0.6)]))
        shire.relay.kill()
        shire.write(3, seed=1_000 + number)
        shire.relay.restart()
        shire.settle()
        shire.rejoin()
        shire.settle(shire.other)
        assert shire.granted() == [1, 1], f"in round {number}, other ahead: {other_is_ahead}"
        # What came in its last moment is cut off by the start, and the switch ends the old replid
        # there: whoever below had got it is ahead of that. A native one that is killed has nothing.
        before, torn = torn, shire.relay.log.count("are not covered by the index")
        for node in (shire.sub, shire.below, shire.lower):
            assert 1 <= full_syncs(node) <= 1 + torn, f"{node.name} in round {number}"
    if torn == before:  # else it ends the old replid earlier than the oracle, which was not killed
        shire.compare_borders()
    assert full_syncs(shire.master) + full_syncs(shire.other) == 1  # at the beginning


class _Dying(Relay):
    """A relay that kills itself at a step of a switch."""

    step = ""

    def command(self) -> list[str]:
        words = super().command()
        at = words.index("repltap")
        return [*words[:at], "tests.servers.dying", self.step, *words[at + 1 :]]
