"""The connection that asks for INFO, against a peer that answers as the test says."""

from __future__ import annotations

import pytest

from repltap.errors import RemoteProtocolError, UpstreamError
from repltap.net.info_connection import open_info
from repltap.protocol.master_offset import MasterOffset, Unanswered
from tests.net.peers import FakeMaster
from tests.net.relay import upstream_config
from tests.protocol.answers import info
from tests.stored import HANG_SECONDS


async def test_question_after_question() -> None:
    async with FakeMaster() as master:
        async with open_info(upstream_config(master.port), "the master") as connection:
            link = await master.link()
            link.say(info(100))
            found = await connection.ask(HANG_SECONDS)
            assert isinstance(found, MasterOffset)
            assert found.offset == 100
            link.say(b"-LOADING soon\r\n")
            assert isinstance(await connection.ask(HANG_SECONDS), Unanswered)
            for _ in range(2):
                assert await link.command() == [b"INFO", b"replication"]
            link.say(b":5\r\n")
            with pytest.raises(RemoteProtocolError, match="something else"):
                await connection.ask(HANG_SECONDS)
        await link.gone()


async def test_who_closes_or_is_silent() -> None:
    async with FakeMaster() as master:
        async with open_info(upstream_config(master.port), "it") as connection:
            link = await master.link()
            link.writer.write_eof()
            with pytest.raises(UpstreamError, match="^it closed the connection that asks"):
                await connection.ask(HANG_SECONDS)
        async with open_info(upstream_config(master.port), "she") as connection:
            with pytest.raises(UpstreamError, match=r"^she did not answer INFO within 0\.05 s$"):
                await connection.ask(0.05)
