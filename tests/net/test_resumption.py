"""What each attempt of the main link asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from repltap.errors import UpstreamError
from repltap.net.resumption import Resumption
from repltap.position import Offset, Position
from tests.net.relay import open_feed, upstream_config
from tests.stored import REPLID, SET, START, held

HELD = Position(REPLID, Offset(START + len(SET)))
CONFIG = upstream_config(6379)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return held(tmp_path, SET)


async def test_nothing_is_held(tmp_path: Path) -> None:
    feed = open_feed(tmp_path)
    resumption = Resumption(feed)
    assert await resumption.begin(0.0) is None
    assert not resumption.partial
    await feed.close()


async def test_what_is_held_is_continued(path: Path) -> None:
    feed = open_feed(path)
    resumption = Resumption(feed)
    assert await resumption.begin(0.0) == HELD
    assert resumption.partial
    assert resumption.announce(CONFIG) == "9.1.2"
    resumption.check(1e9)  # a partial resync may take its time
    await feed.close()


async def test_a_master_that_is_not_trusted_is_asked_for_all_until_it_grants_that(
    path: Path,
) -> None:
    feed = open_feed(path)
    resumption = Resumption(feed)
    resumption.distrust()
    for _ in range(2):
        assert await resumption.begin(0.0) is None
        resumption.check(1e9)  # it is waited for
    resumption.granted()
    assert await resumption.begin(0.0) == HELD
    resumption.distrust()
    resumption.forget()  # another master
    assert await resumption.begin(0.0) == HELD
    await feed.close()


@pytest.mark.parametrize("granted", [True, False])
async def test_all_is_asked_for_once(path: Path, granted: bool) -> None:
    feed = open_feed(path)
    resumption = Resumption(feed)
    resumption.ask_all(None)
    assert await resumption.begin(100.0) is None
    assert not resumption.partial
    assert resumption.announce(CONFIG) is None
    resumption.check(109.9)
    if granted:
        resumption.granted()
        resumption.check(1e9)
    else:
        with pytest.raises(UpstreamError, match="not granted within 10 s"):
            resumption.check(110.0)
    assert await resumption.begin(200.0) == HELD
    assert resumption.announce(CONFIG) == "9.1.2"
    resumption.check(1e9)
    await feed.close()
