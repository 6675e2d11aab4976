"""Whether a server is a master."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from repltap.config import UpstreamConfig
from repltap.errors import UpstreamError
from repltap.net import role as module
from repltap.net.role import is_master
from tests.stored import HANG_SECONDS

CONFIG = UpstreamConfig(host="", port=0, password="pw")


@asynccontextmanager
async def server(answer: bytes) -> AsyncIterator[tuple[str, int]]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"replication\r\n")
            writer.write(answer)
            if answer:
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    made = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with made:
        yield "127.0.0.1", made.sockets[0].getsockname()[1]


def info(role: str) -> bytes:
    text = f"role:{role}\r\nmaster_replid:{'a' * 40}\r\nmaster_repl_offset:5\r\n".encode()
    return b"+OK\r\n$%d\r\n%b\r\n" % (len(text), text)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (info("master"), True),
        (info("slave"), False),
        (b"+OK\r\n-NOPERM no\r\n", None),
        (b"-WRONGPASS no\r\n", None),
    ],
)
async def test_what_it_says(answer: bytes, verdict: bool | None) -> None:
    async with server(answer) as address:
        assert await is_master(CONFIG, address) is verdict


async def test_who_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for answer, seconds, said in (
        (b"", HANG_SECONDS, "closed"),
        (b"+OK\r\n:5\r\n", HANG_SECONDS, "something else"),
        (b"+OK\r\n$10\r\nro", 0.05, "did not answer"),
    ):
        monkeypatch.setattr(module, "_ANSWER_SECONDS", seconds)
        async with server(answer) as address:
            with pytest.raises(UpstreamError, match=said):
                await is_master(CONFIG, address)
    with pytest.raises(UpstreamError, match="can't connect"):
        await is_master(CONFIG, ("127.0.0.1", 1))
