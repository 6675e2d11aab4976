"""Logins at the port and over HTTP: who has to wait, and who is told of failures."""

from __future__ import annotations

import logging
import time

from repltap.net.logins import LoginGuard
from repltap.status.access import LoginFailureStatus

log = logging.getLogger("repltap.access")


class LoginWatch:
    """The guard on the clock, with a voice.

    Attributes:
        guard: Remembers who failed.
        latest: What the log last said.
    """

    def __init__(self) -> None:
        self.guard = LoginGuard()
        self.latest: LoginFailureStatus | None = None

    def wait_seconds(self, address: str) -> float | None:
        """Take a place for a login, as `LoginGuard.wait_seconds`."""
        return self.guard.wait_seconds(address, time.monotonic())

    def failed(self, address: str, place: str) -> None:
        """Note a wrong password.

        Args:
            address: Of the peer, without its port.
            place: Where it was given: `the port`, `HTTP`.
        """
        count = self.guard.failed(address, time.monotonic())
        if not count:
            return
        self.latest = LoginFailureStatus(at=time.time(), address=address, count=count)
        log.warning(
            "wrong password from %s at %s; %d failed logins since the last such line. Who goes on "
            "failing has to wait longer each time",
            address,
            place,
            count,
        )
