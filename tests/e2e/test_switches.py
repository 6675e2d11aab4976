"""A master that dies in the middle of a command, and a relay that does so within a switch."""

from __future__ import annotations

import signal

import pytest

from tests.servers.dying import STEPS
from tests.servers.lab import Lab
from tests.servers.relay import Relay
from tests.servers.shire import Shire, cut_off, full_syncs
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.relay_only


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


class _Dying(Relay):
    """A relay that kills itself at a step of a switch."""

    step = ""

    def command(self) -> list[str]:
        words = super().command()
        at = words.index("repltap")
        return [*words[:at], "tests.servers.dying", self.step, *words[at + 1 :]]
