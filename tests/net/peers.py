"""Peers that do exactly what a test tells them: a master, and a replica that is one raw socket."""

from __future__ import annotations

import asyncio
import socket
import struct
from types import TracebackType

from repltap.net.closing import close_server
from repltap.position import Offset, ReplId
from tests.protocol.ways import rdb
from tests.stored import HANG_SECONDS


class MasterLink:
    """One connection that a relay made to a `FakeMaster`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.options: dict[bytes, bytes] = {}  # what REPLCONF said

    async def command(self) -> list[bytes]:
        """Read the next command; an empty list at the end of the connection."""
        try:
            async with asyncio.timeout(HANG_SECONDS):
                head = await self.reader.readline()
                args = []
                for _ in range(int(head[1:] or 0)):
                    size = int((await self.reader.readline())[1:])
                    args.append((await self.reader.readexactly(size + 2))[:-2])
                return args
        except ConnectionError:
            return []

    async def handshake(self) -> tuple[bytes, bytes]:
        """Say yes to everything up to PSYNC; give its two arguments."""
        while True:
            args = await self.command()
            assert args, "hung up in the handshake"
            if args[0] == b"PSYNC":
                return args[1], args[2]
            if args[0] == b"PING":
                self.say(b"+PONG\r\n")
                continue
            if args[0] == b"REPLCONF":
                self.options.update(zip(args[1::2], args[2::2], strict=True))
            self.say(b"+OK\r\n")

    def say(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)

    def full(self, replid: ReplId, offset: int, data: bytes | None = None) -> None:
        """Grant a full sync and send the snapshot with its length."""
        data = rdb() if data is None else data
        self.say(b"+FULLRESYNC %b %d\r\n" % (replid.encode(), offset))
        self.say(b"$%d\r\n%b" % (len(data), data))

    async def acked(self, offset: int) -> None:
        """Read until an ACK names this offset or more."""
        while (args := await self.command())[:2] == [b"REPLCONF", b"ACK"]:
            if int(args[2]) >= offset:
                return
        raise AssertionError(f"{args} instead of an ACK of {offset}")

    async def gone(self) -> None:
        """Read until the relay has hung up."""
        while await self.command():
            pass

    def close(self) -> None:
        """Hang up.

        What the relay says meanwhile is still taken: else a reset would answer it, and its link
        break with that, or with a broken pipe, before it has read the end.
        """
        self.writer.write_eof()

    def reset(self) -> None:
        """Break the connection, as a host that crashed and came back."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class FakeMaster:
    """A loopback port; the test takes each connection and speaks for the master."""

    def __init__(self) -> None:
        self._server: asyncio.Server
        self._fresh: asyncio.Queue[MasterLink] = asyncio.Queue()
        self._links: list[MasterLink] = []
        self.accepted = 0

    async def __aenter__(self) -> FakeMaster:
        self._server = await asyncio.start_server(self._arrived, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await close_server(self._server)
        await asyncio.sleep(0)  # who got a transport just now is told to `_arrived`
        for link in self._links:
            link.writer.close()
            try:
                await link.writer.wait_closed()
            except ConnectionError:
                pass
        await self._server.wait_closed()

    async def link(self) -> MasterLink:
        """Take the next connection that arrives."""
        async with asyncio.timeout(HANG_SECONDS):
            return await self._fresh.get()

    async def asked(self) -> tuple[MasterLink, tuple[bytes, bytes]]:
        """Take the next connection up to its PSYNC."""
        link = await self.link()
        return link, await link.handshake()

    def _arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        link = MasterLink(reader, writer)
        self._links.append(link)
        self._fresh.put_nowait(link)


class FakeReplica:
    """One raw connection to the port; it reads only when told to."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()

    @classmethod
    async def connect(
        cls, port: int, *, receive_bytes: int = 0, host: str = "127.0.0.1"
    ) -> FakeReplica:
        """Connect; a small receive buffer makes not reading felt soon."""
        sock = socket.socket()
        sock.setblocking(False)
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
        return cls(sock)

    def __enter__(self) -> FakeReplica:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.sock.close()

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        async with asyncio.timeout(HANG_SECONDS):
            await self._loop.sock_sendall(self.sock, data)

    async def ask(self, replid: str | None = None, offset: int = 0, *options: bytes) -> None:
        """Shake hands and ask for what follows `offset`; without a replid, for everything."""
        for option in options:
            await self.send(b"REPLCONF " + option + b"\r\n")
            assert await self.line() == b"+OK"
        if replid is None:
            await self.send(b"PSYNC ? -1\r\n")
        else:
            await self.send(b"PSYNC %b %d\r\n" % (replid.encode(), offset + 1))

    async def line(self) -> bytes:
        """Read the next line, keepalives aside; b"" at the end of the connection."""
        async with asyncio.timeout(HANG_SECONDS):  # keepalives don't lengthen it
            while True:
                while (at := self._buffer.find(b"\n")) < 0:
                    if not await self._more():
                        return b""
                line = bytes(self._buffer[:at])
                del self._buffer[: at + 1]
                if line.strip():
                    return line.removesuffix(b"\r")

    async def exactly(self, size: int) -> bytes:
        """Read so many bytes."""
        async with asyncio.timeout(HANG_SECONDS):
            while len(self._buffer) < size:
                if not await self._more():
                    raise AssertionError(f"ended after {bytes(self._buffer)!r}")
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def rest(self) -> bytes:
        """Read to the end of the connection."""
        async with asyncio.timeout(HANG_SECONDS):
            while await self._more():
                pass
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    async def newline(self) -> None:
        """Wait for a keepalive."""
        assert await self.exactly(1) == b"\n"

    async def snapshot(self) -> tuple[ReplId, Offset, bytes]:
        """Read a full sync: what was granted, and the snapshot."""
        word, replid, offset = (await self.line()).split()
        assert word == b"+FULLRESYNC"
        return ReplId(replid.decode()), Offset(int(offset)), await self.payload()

    async def payload(self) -> bytes:
        """Read a `$<length>` body."""
        head = await self.line()
        assert head.startswith(b"$"), head
        return await self.exactly(int(head[1:]))

    async def _more(self) -> bool:
        try:
            data = await self._loop.sock_recv(self.sock, 1 << 16)
        except ConnectionError:
            return False
        self._buffer += data
        return bool(data)


def ack(offset: int) -> bytes:
    """An ACK, as a replica sends it."""
    number = b"%d" % offset
    return b"*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$%d\r\n%b\r\n" % (len(number), number)
