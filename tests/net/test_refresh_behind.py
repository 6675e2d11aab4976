"""A relay above gives a snapshot from before our journal: nobody is sent that; its journal is got.

Found by the soak: the journal of a relay below another was cut by damage, its snapshot went with
it, and its replicas were sent the upper one's again and again, which nothing could follow.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from repltap.endings import FailureReason
from repltap.net import conversation, resumption, setbacks
from tests.net.peers import FakeMaster, MasterLink
from tests.net.refreshing import END, NEW, parts, up
from tests.net.relay import relay
from tests.protocol.ways import rdb
from tests.stored import HANG_SECONDS, REPLID, SET, START, add_snapshot, held, until

pytestmark = pytest.mark.usefixtures("quick_refresher")

OLD = START - len(SET)
"""Where the snapshot of the relay above is from: it holds a command more than ours."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return held(tmp_path, SET, snapshot=b"")


async def tell_role(master: FakeMaster, role: str) -> None:
    """Answer the relay, which asks for it."""
    link = await master.link()
    assert await link.command() == [b"INFO", b"replication"]
    text = f"role:{role}\r\nmaster_replid:{REPLID}\r\nmaster_repl_offset:{END}\r\n".encode()
    link.say(b"$%d\r\n%b\r\n" % (len(text), text))


async def asked_for_all(master: FakeMaster, main: MasterLink) -> MasterLink:
    """Give a relay's snapshot that is too old, until the main link comes back for everything."""
    second, _ = await master.asked()
    assert second.options[b"rdb-only"] == b"1"
    second.full(REPLID, OLD, NEW)
    await second.gone()
    await tell_role(master, "slave")
    await main.gone()
    again, asked = await master.asked()
    assert asked == (b"?", b"-1")
    return again


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
            again = await asked_for_all(master, main)
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
    monkeypatch.setattr(resumption, "_GRANT_SECONDS", 1000.0)
    async with relay(path, master.port) as it:
        main = await up(it, master)
        with await it.replica() as replica:
            await replica.ask()
            waiting = await asked_for_all(master, main)
            waiting.say(b"\n")
            it.link._resumption._granted_by -= 1000.0  # that long is over, and no handshake cut
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
async def test_a_resync_that_is_not_worth_it(
    path: Path, master: FakeMaster, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    # A tick between the last who leaves and the grant would end the fetch, and that is no failure.
    monkeypatch.setattr(conversation, "_TICK_SECONDS", 2 * HANG_SECONDS)
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


async def test_a_master_is_not_asked_for_it(path: Path, master: FakeMaster) -> None:
    """It writes a snapshot for another replica, and gives that to who asks meanwhile."""
    async with relay(path, master.port) as it:
        await up(it, master)
        with await it.replica() as replica:
            await replica.ask()
            second, _ = await master.asked()
            second.full(REPLID, OLD, NEW)
            await tell_role(master, "master")
            third, _ = await master.asked()
            assert third.options[b"rdb-only"] == b"1"
            third.full(REPLID, END, NEW)
            assert await replica.snapshot() == (REPLID, END, NEW)
        assert it.link.counters.ends == {}


async def test_what_fell_behind_while_it_came_is_no_reason(path: Path, master: FakeMaster) -> None:
    """Nothing is stored above: a master makes one for each who asks, and its next is of now.

    While it arrives it takes room that the journal may have again afterwards.
    """
    data = rdb(bytes(150_000))
    sizes = {"segment_bytes": 20_000, "quota_bytes": 400_000, "retain_bytes": 1000}
    async with relay(path, master.port, store=sizes) as it:
        main = await up(it, master)
        with await it.replica() as replica:
            await replica.ask()
            second, _ = await master.asked()
            head = b"+FULLRESYNC %b %d\r\n$%d\r\n" % (REPLID.encode(), END, len(data))
            second.say(head + data[:-100])
            await until("the part", lambda: it.refresher.arriving)
            main.say(SET * (190_000 // len(SET)))
            await it.holds(END + 189_000)
            await it.feed._retain()
            assert it.history.journal.start > END
            second.say(data[-100:])
            await until("the end", lambda: it.refresher.failures or it.link.counters.ends)
            assert parts(it) == []
            failure = it.refresher.failure
            assert failure is not None
            assert "is gone already" in failure.message
        assert it.link.counters.ends == {}


async def test_there_is_no_room_for_it(path: Path, master: FakeMaster) -> None:
    """The main link goes on as before: it must not wait for room that it can do without."""
    async with relay(path, master.port, store={"quota_bytes": 1 << 20}) as it:
        main = await up(it, master)
        with await it.replica() as replica:
            await replica.ask()
            again = await asked_for_all(master, main)
            again.say(b"+FULLRESYNC %b %d\r\n$%d\r\n" % (REPLID.encode(), OLD, 1 << 21))
            await again.gone()
            main = await up(it, master)
            main.say(SET)
            await it.holds(END + len(SET))
