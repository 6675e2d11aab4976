"""What the main link's next PSYNC asks for: to go on where the journal ends, or everything.

After a connection error the first try is always a partial resync. Everything is asked for when
nothing is held, when the master has sent what can't be, and, for one attempt, when what is stored
can serve nobody new but the server above can send better (`ask_all`).
"""

from __future__ import annotations

from repltap.config import UpstreamConfig
from repltap.endings import FailureReason
from repltap.errors import UpstreamError
from repltap.feed import Feed
from repltap.position import Position

_GRANT_SECONDS = 10.0
"""How long a server may take to grant what `ask_all` asks for. One that has a snapshot does so at
once; while we wait the stream stands still, and it need not."""


class OnPurposeError(UpstreamError):
    """The link was closed to do something else with it: nothing failed."""


class RepointedError(OnPurposeError):
    """The link was closed to follow another master."""

    def __init__(self) -> None:
        super().__init__("re-pointed to another master", reason=FailureReason.REPOINTED)


class ResyncError(OnPurposeError):
    """The link was closed to ask for a full resync."""

    def __init__(self) -> None:
        super().__init__("closed to ask for a full resync", reason=FailureReason.RESYNC)


class Resumption:
    """Decides for one attempt after the other.

    Args:
        feed: What is held.

    Attributes:
        partial: The attempt that runs has asked for a partial resync.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.partial = False
        self._distrusted = False  # what is held, or what the master sends: no partial resync
        self._all: tuple[str | None] | None = None  # the version to announce when asking for all
        self._asked: tuple[str | None] | None = None  # the same, of the attempt that runs
        self._granted_by: float | None = None

    def distrust(self) -> None:
        """Ask for everything until it is granted: the master's bytes are not those held."""
        self._distrusted = True
        if self._feed.history is not None:
            self._feed.history.disputed = True

    def ask_all(self, announce: str | None) -> None:
        """Ask for everything in the next attempt, and in no other.

        Args:
            announce: The version to announce then, None for none: it decides on the format.
        """
        self._all = (announce,)

    def forget(self) -> None:
        """Another master is followed: nothing is known of it."""
        self._distrusted = False
        self._all = None

    async def begin(self, now: float) -> Position | None:
        """Say where the attempt that begins now resumes, None to ask for everything.

        Args:
            now: Seconds on the clock of `check`.
        """
        self._asked, self._all = self._all, None
        self._granted_by = None if self._asked is None else now + _GRANT_SECONDS
        resume = None
        if not self._distrusted and self._asked is None:
            resume = await self._feed.resume_position()
        self.partial = resume is not None
        return resume

    def announce(self, config: UpstreamConfig) -> str | None:
        """Give the version that this attempt announces, None for none."""
        return config.announced if self._asked is None else self._asked[0]

    @property
    def optional(self) -> bool:
        """This attempt asks for everything by `ask_all`: what is held could be continued."""
        return self._asked is not None

    def granted(self) -> None:
        """Everything has been granted."""
        self._distrusted = False
        self._granted_by = None

    def check(self, now: float) -> None:
        """Give up an attempt that `ask_all` called for and that is not granted soon.

        Raises:
            UpstreamError: So that the next one goes on where the journal ends.
        """
        if self._granted_by is not None and now >= self._granted_by:
            raise UpstreamError(
                f"the full resync was not granted within {_GRANT_SECONDS:g} s; what is held is "
                "continued instead",
                reason=FailureReason.TIMEOUT,
            )
