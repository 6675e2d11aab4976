"""What a session and the server it belongs to know of each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from repltap.endings import Ending
from repltap.feed import Feed
from repltap.net.admin.context import AdminContext
from repltap.net.login_watch import LoginWatch
from repltap.net.transfers import Throttle, TransferSlots
from repltap.position import Position
from repltap.protocol.psync import PsyncRequest

if TYPE_CHECKING:
    from repltap.net.session import Session


class SessionOwner(AdminContext, Protocol):
    """What a session needs of the server it belongs to."""

    @property
    def feed(self) -> Feed:
        """The histories."""

    @property
    def slots(self) -> TransferSlots[Session]:
        """Who may be sent a snapshot now."""

    @property
    def throttle(self) -> Throttle:
        """How fast snapshots are sent."""

    @property
    def logins(self) -> LoginWatch:
        """Who failed to log in, and has to wait."""

    def sync_requested(self, session: Session) -> None:
        """Decide about its PSYNC or SYNC, now or later."""

    def session_closed(self, session: Session, ending: Ending) -> None:
        """It is gone, and why."""

    def replica_acknowledged(self) -> None:
        """A replica has sent an ACK."""

    def command_executed(self) -> None:
        """Count one."""


@dataclass(slots=True)
class SyncWait:
    """A PSYNC or SYNC that has not been granted yet."""

    request: PsyncRequest
    legacy: bool
    since: float
    held: bool = False  # told to wait, with newlines

    @property
    def position(self) -> Position | None:
        """Where it asks to go on, None to get everything."""
        return None if self.legacy else self.request.position
