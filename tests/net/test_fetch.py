"""A master is asked for its RDB and nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from repltap.errors import StoreError, UpstreamError
from repltap.net.fetch import Fetched, SnapshotFetch
from tests.net.peers import FakeMaster
from tests.net.relay import upstream_config
from tests.protocol.ways import MARK, rdb
from tests.stored import REPLID, START


class Notes:
    """Takes what comes."""

    def __init__(self) -> None:
        self.data = b""
        self.sizes: list[int | None] = []
        self.failure: StoreError | None = None

    def write(self, data: memoryview | bytes) -> None:
        if self.failure is not None:
            raise self.failure
        self.data += data


@pytest.fixture
def notes() -> Notes:
    return Notes()


def fetch(master: FakeMaster, notes: Notes) -> asyncio.Task[Fetched]:
    run = SnapshotFetch(upstream_config(master.port), notes.write, notes.sizes.append).run()
    return asyncio.get_running_loop().create_task(run)


async def test_with_a_length(notes: Notes) -> None:
    async with FakeMaster() as master:
        task = fetch(master, notes)
        link, asked = await master.asked()
        assert asked == (b"?", b"-1")
        assert link.options[b"rdb-only"] == b"1"
        link.full(REPLID, START)
        assert await task == Fetched(REPLID, START, len(rdb()), has_checksum=True)
        await link.gone()
    assert (notes.data, notes.sizes) == (rdb(), [len(rdb())])


async def test_with_an_end_mark_and_no_checksum(notes: Notes) -> None:
    data = rdb(checksum="none")
    async with FakeMaster() as master:
        task = fetch(master, notes)
        link, _ = await master.asked()
        link.say(b"+FULLRESYNC %b 7\r\n\n\n$EOF:%b\r\n%b%b" % (REPLID.encode(), MARK, data, MARK))
        found = await task
    assert (found.offset, found.has_checksum) == (7, False)
    assert (notes.data, notes.sizes) == (data, [None])


async def test_a_damaged_one(notes: Notes) -> None:
    async with FakeMaster() as master:
        task = fetch(master, notes)
        link, _ = await master.asked()
        link.full(REPLID, START, rdb(checksum="wrong"))
        with pytest.raises(UpstreamError, match="checksum"):
            await task


async def test_hung_up_half_way(notes: Notes) -> None:
    async with FakeMaster() as master:
        task = fetch(master, notes)
        link, _ = await master.asked()
        link.say(b"+FULLRESYNC %b 7\r\n$1000\r\nREDIS0011" % REPLID.encode())
        link.close()
        with pytest.raises(UpstreamError):
            await task


async def test_no_room_for_it(notes: Notes, tmp_path: Path) -> None:
    notes.failure = StoreError("full", path=tmp_path)
    async with FakeMaster() as master:
        task = fetch(master, notes)
        link, _ = await master.asked()
        link.full(REPLID, START)
        with pytest.raises(StoreError, match="full"):
            await task
        await link.gone()
