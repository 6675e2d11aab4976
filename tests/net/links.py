"""What the tests of the link to the master have in common."""

from __future__ import annotations

from tests.net.peers import FakeMaster, MasterLink
from tests.net.relay import Link
from tests.stored import REPLID, START

ANYTHING = (b"?", b"-1")


def asks_for(offset: int, replid: str = REPLID) -> tuple[bytes, bytes]:
    return replid.encode(), b"%d" % (offset + 1)


async def synced(it: Link, master: FakeMaster, stream: bytes = b"") -> MasterLink:
    """Answer the next request with a full sync, and stream behind it."""
    peer, asked = await master.asked()
    assert asked == ANYTHING
    peer.full(REPLID, START)
    peer.say(stream)
    await it.holds(START + len(stream))
    return peer
