"""What the tests of serving replicas share."""

from __future__ import annotations

from repltap.feed import Feed
from repltap.intake import Intake
from repltap.position import Offset, ReplId
from tests.stored import OTHER, SET, START

END = START + 2 * len(SET)


async def begin(feed: Feed, replid: ReplId = OTHER, *, size: int | None = None) -> Intake:
    """Let a snapshot of another history begin to arrive."""
    intake = await feed.begin_intake(replid, Offset(500), origin="a test")
    intake.begin(size)
    return intake
