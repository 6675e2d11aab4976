"""One connection to a master: events in order, the disk waited for, and every way to end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from repltap.errors import DiskFullError, ReplTapError, UpstreamError
from repltap.net.connect import connect
from repltap.net.conversation import Conversation
from repltap.position import Offset, Position
from repltap.protocol.events import (
    FullResyncGranted,
    ResumeGranted,
    SnapshotReceived,
    SnapshotStarted,
    UpstreamEvent,
)
from repltap.protocol.upstream import UpstreamProtocol, UpstreamSettings
from tests.net.peers import FakeMaster, MasterLink
from tests.net.relay import upstream_config
from tests.protocol.ways import MARK, rdb
from tests.stored import OTHER, REPLID, SET, START, open_fds, until


class Notes:
    """A handler that notes what happens; it may wait, or fail, where a test says."""

    def __init__(self) -> None:
        self.log: list[tuple[str, object]] = []
        self.conversation: Conversation
        self.gate: asyncio.Event | None = None
        self.stream_failure: ReplTapError | None = None
        self.tick_failure: ReplTapError | None = None
        self.ticks = 0

    def add(self, kind: str, data: memoryview | bytes) -> None:
        if self.log and self.log[-1][0] == kind:
            data = bytes(self.log.pop()[1]) + data  # type: ignore[call-overload]
        self.log.append((kind, bytes(data)))

    def stream(self, data: memoryview | bytes) -> None:
        if self.stream_failure is not None:
            raise self.stream_failure
        self.add("stream", data)

    def snapshot(self, data: memoryview | bytes) -> None:
        self.add("snapshot", data)

    async def handle(self, event: UpstreamEvent) -> None:
        self.log.append(("begins", type(event)))
        if self.gate is not None:
            await self.gate.wait()
        self.log.append(("ends", event))

    def tick(self) -> None:
        self.ticks += 1
        if self.tick_failure is not None:
            raise self.tick_failure

    def before_send(self) -> None:
        self.conversation.protocol.set_acknowledged(Offset(START + 2), None)

    @property
    def events(self) -> list[object]:
        return [what for kind, what in self.log if kind != "begins"]


class Talk:
    """A conversation under way, and the master's end of it."""

    def __init__(self, notes: Notes, task: asyncio.Task[None], master: MasterLink) -> None:
        self.notes = notes
        self.task = task
        self.master = master

    async def failure(self) -> ReplTapError:
        """Wait for the end; give what it failed with."""
        await asyncio.wait([self.task])
        failure = self.task.exception()
        assert isinstance(failure, ReplTapError)
        return failure


@asynccontextmanager
async def talk(
    *, resume: bool = False, rdb_only: bool = False, handshake: bool = True, **limits: float
) -> AsyncIterator[Talk]:
    before = open_fds()
    async with FakeMaster() as master:
        loop = asyncio.get_running_loop()
        settings = UpstreamSettings(listening_port=1, rdb_only=rdb_only, **limits)  # type: ignore[arg-type]
        position = Position(REPLID, START) if resume else None
        protocol = UpstreamProtocol(settings, resume=position, now=loop.time())
        notes = Notes()
        notes.conversation = conversation = Conversation(protocol, notes)
        await connect(conversation, upstream_config(master.port))
        task = loop.create_task(conversation.run())
        link = await master.link()
        if handshake:
            await link.handshake()
        yield Talk(notes, task, link)
        task.cancel()
        await asyncio.wait([task])
    assert open_fds() == before


GRANTED = FullResyncGranted(REPLID, START)


def received(size: int, events: list[object]) -> bool:
    last = events[-1] if events else None
    return isinstance(last, SnapshotReceived) and last.size_bytes == size


async def test_a_full_sync_in_one_write_with_stream_behind_it() -> None:
    """What is glued together comes out in order, each after what was before it is handled."""
    async with talk() as it:
        it.master.full(REPLID, START, rdb(bytes(100)))
        it.master.say(b"stream")
        await until("the stream", lambda: it.notes.log and it.notes.log[-1][0] == "stream")
        data = rdb(bytes(100))
        assert it.notes.events[:3] == [GRANTED, SnapshotStarted(len(data)), data]
        assert received(len(data), it.notes.events[:4])
        assert it.notes.events[4] == b"stream"


async def test_nothing_is_read_while_an_event_is_handled() -> None:
    async with talk() as it:
        it.notes.gate = asyncio.Event()
        data = rdb(bytes(3_000_000))
        it.master.full(REPLID, START, data)
        await until("the first event", lambda: it.notes.log)
        conversation = it.notes.conversation
        for _ in range(20):
            await asyncio.sleep(0)
        # At most one read was taken in; the rest waits in the kernel and at the master.
        held = sum(len(getattr(e, "data", b"")) for e in conversation._slow)
        assert held <= len(conversation._buffer)
        assert it.notes.log == [("begins", FullResyncGranted)]
        it.notes.gate.set()
        await until("the end", lambda: received(len(data), it.notes.events))
        assert data in it.notes.events


async def test_the_end_mark_in_pieces() -> None:
    async with talk() as it:
        data = rdb(bytes(1000))
        whole = b"+FULLRESYNC %b %d\r\n$EOF:%b\r\n%b%bstream" % (
            REPLID.encode(),
            START,
            MARK,
            data,
            MARK,
        )
        for i in range(0, len(whole), 97):
            it.master.say(whole[i : i + 97])
            await it.master.writer.drain()
            await asyncio.sleep(0)
        await until("the stream", lambda: it.notes.events[-1:] == [b"stream"])
        assert it.notes.events[:2] == [GRANTED, SnapshotStarted(None)]
        assert it.notes.events[2] == data


async def test_what_is_acknowledged_is_what_the_handler_says() -> None:
    async with talk(resume=True) as it:
        it.master.say(b"+CONTINUE %b\r\nabcdef" % OTHER.encode())
        await it.master.acked(START + 2)
        assert it.notes.events == [ResumeGranted(OTHER, START), b"abcdef"]
        conversation = it.notes.conversation
        assert conversation.protocol.received == START + 6
        assert conversation.protocol.acked == START + 2
        assert conversation.last_io_at is not None


async def test_an_rdb_only_conversation_ends_by_itself() -> None:
    async with talk(rdb_only=True) as it:
        assert it.master.options[b"rdb-only"] == b"1"
        it.master.full(REPLID, START)
        await asyncio.wait([it.task])
        assert it.task.exception() is None
        assert received(len(rdb()), it.notes.events)
        await it.master.gone()


async def test_the_master_hangs_up() -> None:
    async with talk(resume=True) as it:
        it.master.say(b"+CONTINUE\r\nlast words")
        it.master.close()
        assert "closed the connection" in str(await it.failure())
        assert it.notes.events == [ResumeGranted(None, START), b"last words"]


async def test_the_connection_breaks() -> None:
    async with talk() as it:
        it.master.reset()
        failure = await it.failure()
        assert isinstance(failure, UpstreamError)
        assert "Connection reset by peer" in str(failure)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (b"-NOAUTH Authentication required.\r\n", "--upstream-password-file"),
        (b"-NOPERM no permission\r\n", "needs +psync +replconf"),
        (b"HTTP/1.1 400 Bad Request\r\n", "check the upstream host and port"),
        (b"-LOADING Redis is loading the dataset in memory\r\n", "loading"),
    ],
)
async def test_a_refusal_and_what_can_be_done(answer: bytes, hint: str) -> None:
    async with talk() as it:
        it.master.say(answer)
        failure = await it.failure()
        assert isinstance(failure, UpstreamError)
        assert hint in str(failure)
        await it.master.gone()


async def test_silence() -> None:
    async with talk(handshake=False, timeout_seconds=0.001) as it:
        assert "nothing came" in str(await it.failure())
        await it.master.gone()


@pytest.mark.parametrize("deferred", [False, True])
async def test_the_handler_fails_on_stream_bytes(deferred: bool) -> None:
    """At once from the read, or later behind an event that had to wait."""
    async with talk(resume=True) as it:
        failure = DiskFullError("no room", path=__file__)  # type: ignore[arg-type]
        if not deferred:
            it.master.say(b"+CONTINUE\r\n")
            await until("the grant", lambda: it.notes.events)
            it.master.say(b"first")
            await until("stream", lambda: it.notes.events[-1] == b"first")
        it.notes.stream_failure = failure
        it.master.say(b"+CONTINUE\r\nstream" if deferred else b"more")
        assert await it.failure() is failure
        await it.master.gone()
        # What could not be stored was not acknowledged.
        assert (it.notes.conversation.protocol.acked or START) <= START + 2


async def test_the_handler_gives_up_on_a_tick() -> None:
    async with talk() as it:
        it.notes.tick_failure = DiskFullError("no room", path=__file__)  # type: ignore[arg-type]
        assert await it.failure() is it.notes.tick_failure
        await it.master.gone()


async def test_told_to_end() -> None:
    async with talk() as it:
        first, second = UpstreamError("re-pointed"), UpstreamError("too late")
        it.notes.conversation.fail(first)
        it.notes.conversation.fail(second)
        assert await it.failure() is first
        await it.master.gone()


async def test_told_to_end_while_an_event_is_handled() -> None:
    async with talk() as it:
        it.notes.gate = asyncio.Event()
        it.master.full(REPLID, START)
        await until("the first event", lambda: it.notes.log)
        it.notes.conversation.fail(UpstreamError("re-pointed"))
        it.notes.gate.set()
        assert str(await it.failure()) == "re-pointed"
        # What had been deferred behind it is not taken in any more.
        assert it.notes.events == [GRANTED]


async def test_cancelling_hangs_up() -> None:
    async with talk(resume=True) as it:
        it.master.say(b"+CONTINUE\r\n")
        await until("the grant", lambda: it.notes.events)
        it.task.cancel()
        await asyncio.wait([it.task])
        assert it.task.cancelled()
        await it.master.gone()


async def test_time_passes_without_bytes() -> None:
    async with talk() as it:
        await until("two ticks", lambda: it.notes.ticks >= 2)


async def test_nothing_is_read_while_it_is_held() -> None:
    async with talk(resume=True) as it:
        let_go = asyncio.Event()
        it.master.say(b"+CONTINUE\r\n" + SET)
        await until("the stream", lambda: it.notes.events[-1:] == [SET])
        it.notes.conversation.hold(let_go.wait)
        await until("reading has stopped", lambda: not _reading(it))
        it.master.say(SET)
        it.notes.conversation._gathered()
        assert not _reading(it)
        let_go.set()
        await until("the rest", lambda: it.notes.events[-1:] == [SET * 2])


def _reading(it: Talk) -> bool:
    transport = it.notes.conversation._transport
    return transport is not None and transport.is_reading()
