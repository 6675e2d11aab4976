"""One socket on the loop: bounded output, sources, and an end that is reported once."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from repltap.endings import DisconnectReason, Ending
from repltap.errors import CorruptStoreError
from repltap.net.channel import Channel
from repltap.net.connection import OUTPUT_HIGH_BYTES, Connection, Progress
from tests.stored import open_fds, until


def end(detail: str) -> Ending:
    return Ending(DisconnectReason.KILLED, detail)


class Rig:
    """A connection on one end of a socket pair; the test has the other."""

    def __init__(self) -> None:
        ours, self.peer = socket.socketpair()
        for sock in (ours, self.peer):
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        self.received = bytearray()
        self.ends: list[Ending] = []
        self.drained = 0
        self.buffer = bytearray(4096)
        self.connection = Connection(
            ours,
            self.buffer,
            on_data=self.on_data,
            on_closed=self.ends.append,
            on_drained=self.on_drained,
        )

    @property
    def said(self) -> list[str]:
        return [ending.detail for ending in self.ends]

    def on_data(self, data: memoryview) -> None:
        self.received += data

    def on_drained(self) -> None:
        self.drained += 1

    def read(self) -> bytes:
        parts = []
        while True:
            try:
                part = self.peer.recv(1 << 16)
            except (BlockingIOError, ConnectionResetError):
                break  # a reset: it was closed with our bytes unread
            if not part:
                break
            parts.append(part)
        return b"".join(parts)

    async def read_all(self, size: int) -> bytes:
        got = bytearray()

        def more() -> bool:
            got.extend(self.read())
            return len(got) >= size

        await until(f"{size} bytes", more)
        return bytes(got)


class Bytes:
    """A source that sends bytes from memory, `turn` at a time, then reports `last`."""

    def __init__(self, data: bytes, turn: int = 1 << 30) -> None:
        self.data = data
        self.turn = turn
        self.turns = 0

    def pump(self, channel: Channel) -> Progress:
        self.turns += 1
        if not self.data:
            return Progress.IDLE
        try:
            sent = channel.send(self.data[: self.turn])
        except BlockingIOError:
            return Progress.BLOCKED
        self.data = self.data[sent:]
        return Progress.MORE if self.data else Progress.IDLE


class Failing:
    """A source whose file or socket has failed."""

    def __init__(self, failure: Exception) -> None:
        self.failure = failure

    def pump(self, channel: Channel) -> Progress:
        raise self.failure


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    made.connection.close(end("the test is over"))
    made.peer.close()


async def test_receiving(rig: Rig) -> None:
    rig.peer.send(b"hello")
    await until("data", lambda: rig.received == b"hello")
    rig.peer.send(b"x" * 6000)  # more than the buffer: in several reads
    await until("data", lambda: len(rig.received) == 6005)
    assert rig.connection.bytes_in == 6005


async def test_the_peer_closes(rig: Rig) -> None:
    rig.peer.send(b"last words")
    rig.peer.close()
    await until("the end", lambda: rig.ends)
    assert rig.received == b"last words"
    assert rig.said == [""]
    assert rig.connection.closed
    rig.connection.close(end("again"))
    rig.connection.close_when_sent(end("again"))
    assert rig.said == [""]


async def test_the_connection_is_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    ours.setblocking(False)
    ends: list[Ending] = []
    Connection(ours, bytearray(100), on_data=bytes, on_closed=ends.append, on_drained=lambda: None)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    await until("the end", lambda: ends)
    assert ends == [
        Ending(DisconnectReason.CONNECTION_LOST, "connection lost: Connection reset by peer")
    ]


async def test_sending_to_a_closed_peer(rig: Rig) -> None:
    rig.peer.close()
    rig.connection.pause_reading()
    rig.connection.write(b"x")
    rig.connection.flush()
    assert rig.said == ["connection lost while sending: Broken pipe"]
    rig.connection.flush()
    assert rig.said == ["connection lost while sending: Broken pipe"]


async def test_output_in_order_before_the_source(rig: Rig) -> None:
    rig.connection.set_source(Bytes(b"from the file"))
    rig.connection.write(b"one ")
    rig.connection.write(b"two ")
    assert rig.connection.unsent_bytes == 8
    assert rig.read() == b""
    rig.connection.flush()
    assert await rig.read_all(21) == b"one two from the file"
    assert (rig.connection.unsent_bytes, rig.connection.bytes_out) == (0, 8)


async def test_a_peer_that_reads_nothing(rig: Rig) -> None:
    """Output waits; the source waits behind it; both go on when the peer reads."""
    source = Bytes(b"f" * 50_000)
    rig.connection.set_source(source)
    rig.connection.write(b"o" * 100_000)
    rig.connection.flush()
    assert rig.connection.unsent_bytes > 50_000
    assert source.turns == 0
    rig.connection.flush()  # waits for the socket: does not spin
    assert await rig.read_all(150_000) == b"o" * 100_000 + b"f" * 50_000


async def test_congestion_ends_once(rig: Rig) -> None:
    assert not rig.connection.congested
    rig.connection.write(b"x" * OUTPUT_HIGH_BYTES)
    assert not rig.connection.congested
    rig.connection.write(b"x" * 100_000)
    assert rig.connection.congested
    rig.connection.flush()
    assert rig.connection.congested
    assert rig.drained == 0
    await rig.read_all(OUTPUT_HIGH_BYTES + 100_000)
    assert rig.drained == 1
    assert not rig.connection.congested


async def test_what_is_not_read_stays_in_the_kernel(rig: Rig) -> None:
    rig.connection.pause_reading()
    rig.connection.pause_reading()
    rig.peer.send(b"later")
    other = Rig()
    other.peer.send(b"now")
    await until("another connection", lambda: other.received)
    assert not rig.received
    rig.connection.resume_reading()
    rig.connection.resume_reading()
    await until("data", lambda: rig.received == b"later")
    other.connection.close(end(""))
    other.peer.close()


async def test_closing_within_data(rig: Rig) -> None:
    def refuse(data: memoryview) -> None:
        rig.connection.close(end("bad input"))

    rig.connection._on_data = refuse
    rig.peer.send(b"?")
    await until("the end", lambda: rig.ends)
    assert rig.said == ["bad input"]


async def test_close_when_sent(rig: Rig) -> None:
    source = Bytes(b"never")
    rig.connection.set_source(source)
    rig.connection.write(b"x" * 100_000)
    rig.peer.send(b"too late")
    rig.connection.close_when_sent(end("said goodbye"))
    rig.connection.resume_reading()
    assert rig.said == []
    assert await rig.read_all(100_000) == b"x" * 100_000
    await until("the end", lambda: rig.ends)
    assert rig.said == ["said goodbye"]
    assert (rig.received, source.turns) == (b"", 0)


async def test_close_when_nothing_waits(rig: Rig) -> None:
    rig.connection.close_when_sent(end("done"))
    assert rig.said == ["done"]


async def test_a_source_that_blocks(rig: Rig) -> None:
    source = Bytes(b"s" * 200_000)
    rig.connection.set_source(source)
    rig.connection.flush()
    await until("a full socket", lambda: rig.connection._writing)
    turns = source.turns
    rig.connection.flush()
    assert source.turns == turns
    assert await rig.read_all(200_000) == b"s" * 200_000


async def test_others_have_their_turn(rig: Rig) -> None:
    """A source with more to send gives way: one turn a pass of the loop."""
    other = Rig()
    sources = [Bytes(b"a" * 4000, turn=1000), Bytes(b"b" * 4000, turn=1000)]
    order: list[int] = []
    for number, source in enumerate(sources):
        inner = source.pump

        def pump(channel: Channel, inner: object = inner, number: int = number) -> Progress:
            order.append(number)
            return inner(channel)  # type: ignore[operator]

        source.pump = pump  # type: ignore[method-assign]
    rig.connection.set_source(sources[0])
    other.connection.set_source(sources[1])
    for _ in range(2):  # flushing again queues no second turn
        rig.connection.flush()
    other.connection.flush()
    await until("all is sent", lambda: not sources[0].data and not sources[1].data)
    assert order[:3] == [0, 0, 1]
    assert order[3:7] == [0, 1, 0, 1]
    other.connection.close(end(""))
    other.peer.close()


async def test_a_source_that_is_taken_away(rig: Rig) -> None:
    source = Bytes(b"s" * 200_000)
    rig.connection.set_source(source)
    rig.connection.flush()
    await until("a full socket", lambda: rig.connection._writing)
    rig.connection.set_source(None)
    left = len(source.data)
    assert await rig.read_all(200_000 - left) == b"s" * (200_000 - left)
    await until("the writer is gone", lambda: not rig.connection._writing)
    assert len(source.data) == left


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (ConnectionResetError(104, "x"), "connection lost while sending: Connection reset by peer"),
        (CorruptStoreError("ends early", path=Path("/j")), "/j: ends early"),
    ],
)
async def test_a_source_that_fails(rig: Rig, failure: Exception, reason: str) -> None:
    rig.connection.set_source(Failing(failure))
    rig.connection.flush()
    assert rig.said == [reason]


async def test_every_way_to_close_leaves_nothing_behind() -> None:
    """Idle, with unsent output, with a blocked source, with a turn queued, while closing."""
    before = open_fds()
    rigs = [Rig() for _ in range(5)]
    rigs[1].connection.write(b"x" * 100_000)
    rigs[1].connection.flush()
    rigs[2].connection.set_source(Bytes(b"x" * 100_000))
    rigs[2].connection.flush()
    await until("a full socket", lambda: rigs[2].connection._writing)
    rigs[3].connection.set_source(Bytes(b"x" * 3000, turn=1000))
    rigs[3].connection.flush()
    rigs[4].connection.write(b"x" * 100_000)
    rigs[4].connection.close_when_sent(end("goodbye"))
    for made in rigs:
        fd = made.connection.fd
        made.connection.close(end("the end"))
        assert made.said == ["the end"]
        loop = asyncio.get_running_loop()
        assert not loop.remove_reader(fd)
        assert not loop.remove_writer(fd)
        made.peer.close()
    await asyncio.sleep(0)  # the queued turn finds it closed
    assert open_fds() == before
