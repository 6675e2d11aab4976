"""A relay above gives a snapshot from before our journal: nobody is sent that; its journal is got.

Found by the soak: the journal of a relay below another was cut by damage, its snapshot went with
it, and its replicas were sent the upper one's again and again, which nothing could follow.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from repltap.endings import FailureReason
from repltap.net import resumption, setbacks
from tests.net.peers import FakeMaster
from tests.net.refreshing import END, NEW, parts, up
from tests.net.relay import relay
from tests.stored import REPLID, SET, START, add_snapshot, held, until

pytestmark = pytest.mark.usefixtures("quick_refresher")

OLD = START - len(SET)
"""Where the snapshot of the relay above is from: it holds a command more than ours."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return held(tmp_path, SET, snapshot=b"")


async def test_the_main_link_gets_it_and_what_follows(
    path: Path, master: FakeMaster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "repltap.upstream")
    async with relay(path, master.port) as it:
        main = await up(it, master)
        with await it.replica() as streaming, await it.replica() as fresh:
            await streaming.ask(REPLID, END)
            assert await streaming.line() == b"+CONTINUE"
            await fresh.ask()
            second, _ = await master.asked()
            assert second.options[b"rdb-only"] == b"1"
            second.full(REPLID, OLD, NEW)
            await second.gone()
            await main.gone()
            again, asked = await master.asked()
            assert asked == (b"?", b"-1")
            # As for the snapshot that was fetched: the version decides on the format.
            assert b"rdb-only" not in again.options
            assert b"version" not in again.options
            again.full(REPLID, OLD, NEW)
            assert await fresh.snapshot() == (REPLID, OLD, NEW)
            assert await streaming.rest() == b""  # dropped: it comes back with its offset
            with await it.replica() as back:
                await back.ask(REPLID, END)
                await back.newline()  # held: the bytes up to there are coming
                again.say(SET + SET + SET)
                assert await back.line() == b"+CONTINUE"
                assert await back.exactly(len(SET)) == SET
            assert await fresh.exactly(3 * len(SET)) == SET * 3
        assert it.link.counters.ends == {FailureReason.RESYNC: 1}
        assert it.link.counters.full_resyncs == 1
        assert (it.service.full, it.refresher.failures) == (1, 0)
        assert "before our journal" not in caplog.text
        assert "is asked for a full resync: the snapshot is of offset" in caplog.text


async def test_what_is_not_granted_soon_is_given_up(
    path: Path, master: FakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay above has lost its snapshot meanwhile, and waits for its own master."""
    monkeypatch.setattr(resumption, "_GRANT_SECONDS", 0.05)
    async with relay(path, master.port) as it:
        main = await up(it, master)
        with await it.replica() as replica:
            await replica.ask()
            second, _ = await master.asked()
            second.full(REPLID, OLD, NEW)
            await main.gone()
            waiting, asked = await master.asked()
            assert asked == (b"?", b"-1")
            waiting.say(b"\n")
            await waiting.gone()
            main = await up(it, master)
            main.say(SET)
            await it.holds(END + len(SET))
            # The stream goes on, and the next snapshot is one that can be used.
            third, _ = await master.asked()
            third.full(REPLID, END + len(SET), NEW)
            assert await replica.snapshot() == (REPLID, END + len(SET), NEW)
        assert it.link.counters.full_resyncs == 0


async def test_one_resync_is_not_followed_by_another_at_once(
    path: Path, master: FakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with relay(path, master.port) as it:
        monkeypatch.setattr(setbacks, "RETRY_SECONDS", (1000.0,))
        it.refresher._resyncs.add("all")
        monkeypatch.setattr(setbacks, "RETRY_SECONDS", (0.001,))
        await up(it, master)
        with await it.replica() as replica:
            await replica.ask()
            for count in (1, 2):
                second, _ = await master.asked()
                second.full(REPLID, OLD, NEW)
                await until("the failure", lambda n=count: it.refresher.failures >= n)
            failure = it.refresher.failure
            assert failure is not None
            assert f"the journal begins at {START} only" in failure.message
            third, _ = await master.asked()
            third.full(REPLID, END, NEW)
            assert await replica.snapshot() == (REPLID, END, NEW)
        assert it.link.counters.ends == {}


@pytest.mark.parametrize("why", ["nobody waits", "the limit", "another will do"])
async def test_a_resync_that_is_not_worth_it(path: Path, master: FakeMaster, why: str) -> None:
    limits = {"pin_limit_bytes": 10, "retain_bytes": 10} if why == "the limit" else {}
    async with relay(path, master.port, store=limits) as it:
        await up(it, master)
        with await it.replica() as replica:
            await replica.ask()
            second, _ = await master.asked()
            if why == "another will do":
                add_snapshot(it.history, NEW, offset=END)
            elif why == "nobody waits":
                replica.sock.close()
                await until("the end", lambda: not it.downstream._sessions)
                for request in it.refresher._requests.values():
                    request.waiters.clear()
            second.full(REPLID, OLD, NEW)
            await until("the failure", lambda: it.refresher.failures)
        assert parts(it) == []
        assert it.link.counters.ends == {}
        assert it.link.streaming_since is not None
