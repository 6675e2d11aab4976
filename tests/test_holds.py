"""What sinks need is known by history and offset, and what they lose is counted."""

import pytest

from repltap.holds import Hold, SinkHolds
from repltap.position import Offset


def test_nobody_needs_anything() -> None:
    holds = SinkHolds()
    assert not holds.need(1)
    assert holds.lowest(1) is None
    assert holds.of("a") is None
    holds.release("a")
    holds.let_go(1, Offset(0), Offset(10))
    assert not holds.lost_bytes


def test_a_sink_needs_its_place_and_all_that_follows() -> None:
    holds = SinkHolds()
    holds.hold("a", 3, Offset(50))
    holds.hold("b", 4, Offset(20))
    assert [holds.need(number) for number in (2, 3, 4, 5)] == [False, True, True, True]
    assert [holds.lowest(number) for number in (2, 3, 4)] == [None, 50, 0]
    holds.hold("a", 4, Offset(30))
    assert [holds.lowest(number) for number in (3, 4)] == [None, 20]
    assert holds.of("a") == Hold(4, Offset(30))
    holds.release("b")
    assert holds.lowest(4) == 30


def test_what_is_lost_is_counted_for_whom_it_concerns(caplog: pytest.LogCaptureFixture) -> None:
    holds = SinkHolds()
    holds.hold("behind", 3, Offset(50))
    holds.hold("ahead", 4, Offset(20))
    holds.let_go(3, Offset(0), Offset(50))
    assert not holds.lost_bytes
    holds.let_go(3, Offset(0), Offset(80))
    assert holds.lost_bytes == {"behind": 30}
    holds.let_go(4, Offset(0), Offset(30))
    assert holds.lost_bytes == {"behind": 60, "ahead": 10}
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
