"""Logins at the port and over HTTP: who has to wait, and who is told of failures."""

from __future__ import annotations

import logging
import time

from repltap.net.logins import LoginGuard, Turn
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

    def turn(self, address: str) -> Turn | None:
        """Take a place in the line for a login, as `LoginGuard.turn`."""
        return self.guard.turn(address, time.monotonic())

    def succeeded(self, address: str, turn: Turn) -> None:
        """Note a right one, as `LoginGuard.succeeded`."""
        self.guard.succeeded(address, turn)

    def failed(self, address: str, turn: Turn, place: str) -> None:
        """Note a wrong password.

        Args:
            address: Of the peer, without its port.
            turn: The one that it had.
            place: Where it was given: `the port`, `HTTP`.
        """
        count = self.guard.failed(address, time.monotonic(), turn)
        if not count:
            return
        self.latest = LoginFailureStatus(at=time.time(), address=address, count=count)
        log.warning(
            "wrong password from %s at %s; %d failed login%s since the last such line. Who goes on "
            "failing has to wait longer each time",
            address,
            place,
            count,
            "" if count == 1 else "s",
        )
