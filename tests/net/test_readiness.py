"""What makes a relay not ready."""

from dataclasses import replace

import pytest

from repltap.net.readiness import unready
from repltap.status.link import LinkState
from repltap.status.relay import RelayStatus
from repltap.values import Readiness, readiness
from tests.net.admin.fakes import NOW, journal, relay_status, upstream

ALL = readiness("snapshot,link,lag:30")
SERVE = Readiness(serve=True)
AWAY = upstream(state=LinkState.CONNECT, last_error="connection refused", last_io_at=NOW - 31)


@pytest.mark.parametrize(
    ("status", "wanted", "conditions"),
    [
        (relay_status(), ALL, []),
        (relay_status(), Readiness(), []),
        (relay_status(), SERVE, []),
        (relay_status(upstream=AWAY), SERVE, []),
        (relay_status(journal=journal(snapshots=())), SERVE, []),
        (relay_status(upstream=AWAY, journal=journal(snapshots=())), SERVE, ["serve"]),
        (relay_status(upstream=upstream(state=LinkState.SYNC), journal=None), SERVE, ["serve"]),
        (relay_status(journal=None), ALL, ["snapshot"]),
        (relay_status(journal=journal(snapshots=())), ALL, ["snapshot"]),
        (relay_status(upstream=AWAY), ALL, ["link", "lag"]),
        (relay_status(upstream=AWAY), readiness("snapshot"), []),
        (relay_status(upstream=upstream(state=LinkState.SYNC)), ALL, ["link"]),
        (relay_status(upstream=upstream(last_io_at=None)), ALL, ["lag"]),
        (relay_status(upstream=upstream(last_io_at=NOW - 30)), ALL, []),
        (relay_status(upstream=upstream(lag_seconds=31.0)), ALL, ["lag"]),
        (relay_status(upstream=upstream(lag_seconds=0.0, last_io_at=NOW - 99)), ALL, []),
        (relay_status(upstream=replace(AWAY, lag_seconds=0.0)), ALL, ["link", "lag"]),
    ],
)
def test_what_is_not_met(status: RelayStatus, wanted: Readiness, conditions: list[str]) -> None:
    assert [reason.condition for reason in unready(status, wanted)] == conditions


def test_the_reason_says_why() -> None:
    link, lag = unready(relay_status(upstream=AWAY), ALL)
    assert link.text == "the link to the master is in state connect: connection refused"
    assert lag.text == "nothing has come from the master for 31 s, more than 30 s"
