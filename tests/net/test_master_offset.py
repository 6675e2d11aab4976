"""The poll of the master's offset, against a peer that answers as the test says."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from repltap.config import UpstreamConfig
from repltap.net import master_offset
from repltap.net.master_offset import MasterPoll
from repltap.position import Offset
from repltap.status.link import LinkState, UpstreamStatus
from tests.net.admin.fakes import upstream
from tests.net.peers import FakeMaster
from tests.net.relay import open_feed, parts, upstream_config
from tests.protocol.answers import REPLID, info
from tests.protocol.ways import rdb
from tests.servers.ports import silent_port
from tests.stored import HANG_SECONDS, until


class Followed:
    """The link, as far as the poll looks at it."""

    def __init__(self, config: UpstreamConfig) -> None:
        self.config = config
        self.state = LinkState.CONNECTED
        self.streaming_since: float | None = 1.0


class World:
    """A poll, the link that it looks at, and the journal's end."""

    def __init__(self, path: Path, port: int, **changes: object) -> None:
        self.feed = open_feed(path)
        self.link = Followed(upstream_config(port, **{"poll_seconds": 0.1, **changes}))
        self.poll = MasterPoll(self.feed, self.link)

    @property
    def shown(self) -> UpstreamStatus:
        return self.poll.shown(upstream())


@asynccontextmanager
async def world(path: Path, port: int, **changes: object) -> AsyncIterator[World]:
    """Run a poll beside a history that ends at offset 100."""
    made = World(path, port, **changes)
    async with parts(made.feed, made.poll.run()):
        await _store(made)
        yield made


async def _store(it: World) -> None:
    intake = await it.feed.begin_intake(REPLID, Offset(100), origin="test")
    data = rdb()
    intake.begin(len(data))
    intake.write(data)
    it.feed.complete_intake(intake, None)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures that are over soon, and answers that may take long, and are remembered as long."""
    monkeypatch.setattr(master_offset, "_ANSWER_SECONDS", HANG_SECONDS)
    monkeypatch.setattr(master_offset, "_KNOWN_SECONDS", HANG_SECONDS)
    monkeypatch.setattr(master_offset, "_BACKOFF_SECONDS", (0.01,))


async def test_lag_is_told(tmp_path: Path) -> None:
    async with FakeMaster() as master, world(tmp_path, master.port) as it:
        link = await master.link()
        for offset in (100, 350):
            assert await link.command() == [b"INFO", b"replication"]
            link.say(info(offset))
            await until(f"{offset} is seen", lambda n=offset: it.shown.master_offset == n)  # type: ignore[misc]
            assert it.shown.lag_bytes == offset - 100
        assert await link.command() == [b"INFO", b"replication"]
        link.say(info(350))
        await until("it grows", lambda: (it.shown.lag_seconds or 0) > 0.1)
        assert it.shown.master_offset_error == ""


async def test_no_acl_is_said_once_and_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with FakeMaster() as master, world(tmp_path, master.port) as it:
        link = await master.link()
        await link.command()
        link.say(b"-NOPERM User x has no permissions to run the 'info' command\r\n")
        await link.gone()
        await until("it is said", lambda: "+info" in it.shown.master_offset_error)
        assert it.shown.master_offset is None
        assert it.shown.lag_seconds is None
        assert caplog.text.count("lag behind the master is not known") == 1
        # Another master is asked, at once.
        it.link.config = replace(it.link.config, timeout_seconds=61)
        link = await master.link()
        await link.command()
        link.say(info(100))
        await until("it is known", lambda: it.shown.master_offset == 100)
        assert it.shown.master_offset_error == ""
        assert master.accepted == 2


async def test_silence_ends_the_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeMaster() as master, world(tmp_path, master.port) as it:
        with monkeypatch.context() as patched:
            patched.setattr(master_offset, "_ANSWER_SECONDS", 0.1)
            link = await master.link()
            await link.command()
            await link.gone()
            link = await master.link()
            await link.command()
        # The limit of this question is the short one still, that of the next is not.
        await link.gone()
        link = await master.link()
        assert "did not answer" in it.shown.master_offset_error
        await link.command()
        link.say(info(120))
        await until("it is known", lambda: it.shown.lag_bytes == 20)


async def test_a_peer_that_speaks_something_else(tmp_path: Path) -> None:
    async with FakeMaster() as master, world(tmp_path, master.port) as it:
        link = await master.link()
        link.say(b"SSH-2.0-OpenSSH_9.2\r\n")
        await until("it is said", lambda: "something else" in it.shown.master_offset_error)
        assert await master.link()


async def test_nobody_is_asked_while_the_link_is_down(tmp_path: Path) -> None:
    async with FakeMaster() as master, world(tmp_path, master.port) as it:
        link = await master.link()
        await link.command()
        it.link.state = LinkState.CONNECT
        link.say(info(100))
        await link.gone()
        assert master.accepted == 1
        it.link.state = LinkState.PAUSED
        await master.link()


async def test_a_link_that_is_connected_again_is_asked_about_again(tmp_path: Path) -> None:
    """Another server may answer at the same address: the one before knows nothing of it."""
    async with FakeMaster() as master, world(tmp_path, master.port) as it:
        link = await master.link()
        await link.command()
        it.link.streaming_since = 2.0
        link.say(info(100))
        await link.gone()
        link = await master.link()
        await link.command()
        link.say(info(400))
        await until("it is known", lambda: it.shown.lag_bytes == 300)


async def test_turned_off(tmp_path: Path) -> None:
    async with FakeMaster() as master, world(tmp_path, master.port, poll_seconds=0) as it:
        assert "poll_seconds" in it.shown.master_offset_error
        assert master.accepted == 0


async def test_a_master_that_is_gone(tmp_path: Path) -> None:
    with silent_port() as port:
        async with world(tmp_path, port) as it:
            await until("it is said", lambda: "can't connect" in it.shown.master_offset_error)
