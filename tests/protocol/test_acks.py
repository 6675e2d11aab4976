from __future__ import annotations

import pytest

from repltap.position import Offset
from repltap.protocol.acks import ACK_PERIOD_SECONDS, GETACK, Acks
from tests.protocol.ways import ack


def begun(*, eager: bool = False) -> Acks:
    acks = Acks(0.0)
    acks.grant(Offset(100))
    acks.begin(0.0, eager=eager)
    assert acks.take(Offset(100)) == ack(100)
    return acks


def test_none_is_due_before_the_stream_begins() -> None:
    acks = Acks(0.0)
    acks.grant(Offset(100))
    assert acks.take(Offset(100)) == b""
    assert acks.sent is None


def test_one_each_second_and_more_until_the_stream_begins_when_eager() -> None:
    for eager, period in ((False, ACK_PERIOD_SECONDS), (True, 0.2)):
        acks = begun(eager=eager)
        acks.tick(period - 0.01)
        assert acks.take(Offset(100)) == b""
        acks.tick(period)
        assert acks.take(Offset(100)) == ack(100)
        acks.see(memoryview(b"x"), Offset(101))
        acks.tick(period + 0.9)
        assert acks.take(Offset(101)) == b""


def test_only_allow_raises_what_is_said_and_only_up_to_what_came() -> None:
    acks = begun()
    for now, (allowed, durable), said in (
        (1.0, (100, None), ack(100)),
        (2.0, (120, None), ack(120)),
        (3.0, (10**12, 110), ack(150, 110)),
        (4.0, (140, 10**12), ack(140, 140)),
    ):
        acks.allow(Offset(allowed), None if durable is None else Offset(durable))
        acks.tick(now)
        assert acks.take(Offset(150)) == said


def test_a_grant_forgets_what_was_allowed_before() -> None:
    acks = Acks(0.0)
    acks.allow(Offset(10**12), None)
    acks.grant(Offset(100))
    acks.begin(0.0, eager=False)
    assert acks.take(Offset(500)) == ack(100)


def test_what_was_glued_to_the_grant_is_said_as_soon_as_it_is_stored() -> None:
    acks = begun()
    acks.see(memoryview(b"x" * 20), Offset(120))
    assert acks.take(Offset(120)) == b""
    acks.allow(Offset(110), None)
    assert acks.take(Offset(120)) == ack(110)
    acks.allow(Offset(120), None)
    assert acks.take(Offset(120)) == ack(120)
    acks.see(memoryview(b"x" * 20), Offset(140))
    acks.allow(Offset(140), None)
    assert acks.take(Offset(140)) == b""  # from then on each second


@pytest.mark.parametrize("cut", range(1, len(GETACK)))
def test_getack_over_two_reads(cut: int) -> None:
    acks = begun()
    acks.see(memoryview(GETACK[:cut]), Offset(100 + cut))
    assert acks.take(Offset(100 + cut)) == b""
    acks.see(memoryview(GETACK[cut:]), Offset(100 + len(GETACK)))
    assert acks.take(Offset(100 + len(GETACK))) == ack(100)  # at once, truthfully
    acks.allow(Offset(100 + len(GETACK)), None)
    assert acks.take(Offset(100 + len(GETACK))) == ack(100 + len(GETACK))
    acks.allow(Offset(100 + len(GETACK)), None)
    assert acks.take(Offset(100 + len(GETACK))) == b""


def test_somebody_asks_until_what_was_asked_for_is_said() -> None:
    acks = Acks(0.0)
    assert not acks.asked
    acks.see(memoryview(GETACK), Offset(len(GETACK)))
    assert acks.asked
    acks.allow(Offset(10), None)
    acks.take(Offset(len(GETACK)))
    assert acks.asked  # it was answered with less than what is wanted
    acks.allow(Offset(len(GETACK)), None)
    acks.take(Offset(len(GETACK)))
    assert not acks.asked


def test_each_step_towards_what_is_waited_for_is_said_at_once() -> None:
    acks = Acks(0.0)
    acks.grant(Offset(0))
    acks.allow(Offset(100), None)
    asked = Offset(300 + len(GETACK))  # a replica answers with what is before it at first
    acks.see(memoryview(b"x" * 200 + GETACK + b"x" * 50), Offset(350 + len(GETACK)))
    assert acks.take(Offset(400)) == ack(100)
    acks.allow(Offset(100), None)
    assert acks.take(Offset(400)) == b""
    acks.allow(Offset(250), None)  # enough for a client that waits for an earlier write
    assert acks.take(Offset(400)) == ack(250)
    assert acks.asked
    acks.allow(Offset(300), None)
    assert acks.take(Offset(400)) == ack(300)
    assert acks.asked
    acks.allow(asked, None)
    assert acks.take(Offset(400)) == ack(asked)
    assert not acks.asked
    acks.allow(Offset(400), None)
    assert acks.take(Offset(400)) == b""  # nobody waits for that


@pytest.mark.parametrize("cut", range(1, len(GETACK)))
def test_where_a_getack_over_two_reads_ends(cut: int) -> None:
    acks = begun()
    acks.allow(Offset(100), None)
    lead = b"x" * 60
    acks.see(memoryview(lead + GETACK[:cut]), Offset(160 + cut))
    acks.see(memoryview(GETACK[cut:] + b"y"), Offset(161 + len(GETACK)))
    acks.take(Offset(200))
    acks.allow(Offset(159 + len(GETACK)), None)
    acks.take(Offset(200))
    assert acks.asked
    acks.allow(Offset(160 + len(GETACK)), None)
    acks.take(Offset(200))
    assert not acks.asked


def test_what_is_received_does_not_hurry_an_answer_that_waits_for_the_disk() -> None:
    acks = begun()
    acks.allow(Offset(100), Offset(100))
    acks.see(memoryview(b"x" * 100 + GETACK), Offset(237))
    acks.allow(Offset(237), Offset(100))
    assert acks.take(Offset(237)) == ack(237, 100)
    for end in (300, 400, 500):  # under load, each read
        acks.see(memoryview(b"x" * 100), Offset(end))
        acks.allow(Offset(end), Offset(100))
        assert acks.take(Offset(end)) == b""
    acks.allow(Offset(500), Offset(400))
    assert acks.take(Offset(500)) == ack(500, 400)
    assert not acks.asked
