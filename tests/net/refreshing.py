"""The scenes in which a snapshot is fetched over a second connection."""

from __future__ import annotations

import os

from repltap.intake import HOLD_BACK_BYTES
from tests.net.peers import FakeMaster, FakeReplica, MasterLink
from tests.net.relay import WholeRelay
from tests.protocol.ways import rdb
from tests.stored import REPLID, SET, START, until

END = START + len(SET)
NEW = rdb(b"newer data")


async def up(it: WholeRelay, master: FakeMaster) -> MasterLink:
    """Bring the main link up by partial resync."""
    peer, asked = await master.asked()
    assert asked == (REPLID.encode(), b"%d" % (END + 1))
    peer.say(b"+CONTINUE\r\n")
    await until("the link", lambda: it.link.streaming_since is not None)
    return peer


async def without_end(replica: FakeReplica, data: bytes) -> None:
    """Read to the end of the connection: it must not have been sent all of the snapshot."""
    got = await replica.rest()
    assert b"+FULLRESYNC" in got
    assert data[-HOLD_BACK_BYTES:] not in got


async def begin_snapshot(it: WholeRelay, second: MasterLink) -> None:
    """Let the master send the begin of a snapshot, until some of it is there."""
    second.say(b"+FULLRESYNC %b %d\r\n$1000\r\nREDIS0011" % (REPLID.encode(), END))
    await until("the part", lambda: parts(it))


def parts(it: WholeRelay) -> list[str]:
    return [name for name in os.listdir(it.history.snapshots.path) if name.endswith(".part")]
