"""Failed logins, told: in the log and in the status, without names."""

import pytest

from repltap.net.login_watch import LoginWatch
from repltap.net.logins import Turn


def test_failures_are_told_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    watch = LoginWatch()
    assert watch.latest is None
    turn = watch.turn("10.0.0.7")
    assert turn == Turn()
    for _ in range(50):
        watch.failed("10.0.0.7", turn, "the port")
    assert len(caplog.records) == 1
    assert "wrong password from 10.0.0.7 at the port; 1 failed login since" in caplog.text
    assert watch.latest is not None
    assert (watch.latest.address, watch.latest.count) == ("10.0.0.7", 1)
    assert watch.guard.failed_total == 50
    turn = watch.turn("10.0.0.7")
    assert turn is not None
    assert turn.charged
    watch.succeeded("10.0.0.7", turn)
