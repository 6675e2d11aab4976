"""What a sentinel says on the wire, in RESP3, and a fake one that says it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType

from repltap.net.closing import close_server

ID = "a" * 40


def text(words: str) -> bytes:
    """A bulk string."""
    return b"$%d\r\n%b\r\n" % (len(words), words.encode())


def mapping(fields: Mapping[str, str]) -> bytes:
    """A map of strings."""
    return b"%%%d\r\n" % len(fields) + b"".join(text(k) + text(v) for k, v in fields.items())


def push(channel: str, words: str) -> bytes:
    """A message of a channel."""
    return b">3\r\n" + text("message") + text(channel) + text(words)


GREETING = mapping({"server": "redis", "version": "7.0.15", "mode": "sentinel"})
SUBSCRIBED = b"".join(
    b">3\r\n" + text("subscribe") + text(channel) + b":%d\r\n" % count
    for count, channel in enumerate(("+switch-master", "+sentinel"), 1)
)


def answers(
    master: tuple[str, int] | None,
    epoch: int,
    others: Sequence[tuple[str, str, int]] = (),
    sentinel_id: str = ID,
) -> bytes:
    """All that is answered to one question."""
    if master is None:
        return text(sentinel_id) + b"_\r\n" + b"-ERR No such master with that name\r\n" * 2
    host, port = master
    described = {"name": "mymaster", "ip": host, "port": str(port), "config-epoch": str(epoch)}
    told = [
        mapping({"name": runid, "ip": ip, "port": str(at), "runid": runid})
        for runid, ip, at in others
    ]
    return b"".join(
        (
            text(sentinel_id),
            b"*2\r\n" + text(host) + text(str(port)),
            mapping(described),
            b"*%d\r\n" % len(told) + b"".join(told),
        )
    )


class FakeSentinel:
    """A port that answers as the test wants.

    Attributes:
        answer: To each question; None to say nothing.
        connections, asked: How many there were.
        heard: All that was said to it.
    """

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.greeting = GREETING + SUBSCRIBED
        self.connections = 0
        self.asked = 0
        self.heard = b""
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server

    async def __aenter__(self) -> FakeSentinel:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = ("127.0.0.1", int(self._server.sockets[0].getsockname()[1]))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await close_server(self._server)
        self.hang_up()
        await self._server.wait_closed()

    def hang_up(self) -> None:
        """Close all connections."""
        for writer in self._writers:
            writer.transport.abort()

    def say(self, data: bytes) -> None:
        """Say something to all who are connected."""
        for writer in self._writers:
            writer.write(data)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            writer.write(self.greeting)
            while data := await reader.read(1 << 16):
                self.heard += data
                for _ in range(data.count(b"MYID")):
                    self.asked += 1
                    if self.answer is not None:
                        writer.write(self.answer)
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
