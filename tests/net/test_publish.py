"""Who on the port is brought a hello message."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from repltap.endings import DisconnectReason
from repltap.net.admin.context import ClientKind
from repltap.net.publish import MAX_UNREAD_BYTES, publish
from repltap.protocol.hello import CHANNEL, HelloRules
from tests.net.admin.fakes import FakeClient
from tests.net.relay import port

MASTER = ("10.0.0.1", 6379)  # of tests.net.relay.Whole
WIRE = b"127.0.0.1,26379,%b,1,mymaster,10.0.0.1,6379,1" % (b"a" * 40)


@dataclass
class Listener(FakeClient):
    """A subscriber that notes what it is told."""

    kind: ClientKind = ClientKind.PUBSUB
    told: list[bytes] = field(default_factory=list)
    dropped: list[DisconnectReason] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state.channels.add(CHANNEL)

    def tell(self, data: bytes) -> None:
        self.told.append(data)

    def drop(self, reason: DisconnectReason, detail: str) -> None:
        self.dropped.append(reason)


def test_each_subscription_is_told_once() -> None:
    one, two, replica = Listener(id=1), Listener(id=2), Listener(id=3)
    two.state.patterns |= {b"__sentinel__:*", b"__sentinel__:nothing"}
    replica.kind = ClientKind.REPLICA
    assert publish(CHANNEL, WIRE, [one, two, replica], HelloRules(), {MASTER}) == 3
    assert (len(one.told), len(two.told), len(replica.told)) == (1, 1, 0)  # in one piece
    first = one.told[0]
    assert two.told[0].startswith(first + b"*4\r\n$8\r\npmessage\r\n$14\r\n__sentinel__:*\r\n")


def test_nobody_is_told_what_is_no_hello_or_of_another_master() -> None:
    one = Listener()
    assert publish(CHANNEL, b"hello", [one], HelloRules(), {MASTER}) == 0
    assert publish(CHANNEL, WIRE, [one], HelloRules(), {("10.0.0.2", 6379)}) == 0
    assert one.told == []


def test_who_does_not_read_is_disconnected() -> None:
    one, two = Listener(id=1, output_buffered_bytes=MAX_UNREAD_BYTES + 1), Listener(id=2)
    assert publish(CHANNEL, WIRE, [one, two], HelloRules(), {MASTER}) == 1
    assert one.dropped == [DisconnectReason.TRANSFER_STALLED]
    assert (one.told, len(two.told)) == ([], 1)


async def test_over_the_port(tmp_path: Path) -> None:
    async with port(tmp_path) as it:
        with (
            await it.replica() as sentinel,
            await it.replica() as person,
            await it.replica() as speaker,
        ):
            for client, name in ((sentinel, b"sentinel-aaaaaaaa-pubsub"), (person, b"me")):
                await client.send(b"CLIENT SETNAME %b\r\nSUBSCRIBE %b\r\n" % (name, CHANNEL))
                assert await client.line() == b"+OK"
                assert await client.line() == b"*3"
                for _ in range(5):
                    await client.line()
            await speaker.send(b"PUBLISH %b %b\r\n" % (CHANNEL, WIRE))
            assert await speaker.line() == b":2"
            foreign = WIRE.replace(b"10.0.0.1", b"10.0.0.9")
            await speaker.send(b"PUBLISH %b %b\r\n" % (CHANNEL, foreign))
            assert await speaker.line() == b":1"  # its own, for the sentinel
            for client, messages in ((sentinel, (WIRE, foreign)), (person, (WIRE,))):
                for expected in messages:
                    lines = [await client.line() for _ in range(7)]
                    assert lines[2] == b"message"
                    assert lines[6] == expected
