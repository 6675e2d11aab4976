"""What is known of the sentinels that name the master, as the status shows it. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class SentinelState(Enum):
    """Whether a sentinel answers."""

    CONNECTING = "connecting"
    ANSWERING = "answering"
    AWAY = "away"


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelSeen:
    """One sentinel.

    Attributes:
        address: `host:port`.
        configured: It is in the configuration; others were learnt from those.
        state: Whether it answers.
        master: Who it says is the master, `host:port`; "" when it knows none of this name, or has
            said nothing.
        epoch: Of the configuration that it says so from, None where that is not known.
        told_at: When it last answered, Unix seconds.
        listening: It tells of a switch by itself; else it is asked again and again.
        error: Why it does not answer, "" while it does.
    """

    address: str
    configured: bool
    state: SentinelState
    master: str = ""
    epoch: int | None = None
    told_at: float | None = None
    listening: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelStatus:
    """The sentinels, and what came of what they say.

    Attributes:
        master_name: What they call the master.
        sentinels: The configured ones first.
        epoch: Of the configuration that is followed, None before there is one.
        told_by: Who named the master that is followed, `host:port`.
        followed_since: When it was chosen, Unix seconds.
        switches: Masters that took another one's place.
        objection: Why what they name is not followed, or the last known master where they are
            away; "" when it is.
        last_known: The master that was followed before the start, while no sentinel has named one
            since; `followed_since` says whether it is followed.
    """

    master_name: str
    sentinels: tuple[SentinelSeen, ...] = ()
    epoch: int | None = None
    told_by: tuple[str, ...] = ()
    followed_since: float | None = None
    switches: int = 0
    objection: str = ""
    last_known: str = ""

    @property
    def answering(self) -> int:
        """Count those that answer."""
        return sum(each.state is SentinelState.ANSWERING for each in self.sentinels)
