"""What may be acknowledged, by policy: never more than is true."""

from __future__ import annotations

from pathlib import Path

import pytest

from repltap.config import FsyncPolicy
from repltap.net.acknowledge import AckLimit, Acknowledgement, each_once
from repltap.position import Offset
from repltap.store.history import HistoryStore
from repltap.values import AckKind, AckPolicy, ack_policy
from tests.net.peers import FakeMaster, FakeReplica, ack
from tests.net.relay import open_feed, port, relay
from tests.stored import REPLID, SET, START, held, hold, until

END = START + len(SET)


class Replicas:
    """What some replicas have acknowledged."""

    def __init__(self, *offsets: int) -> None:
        self.offsets = list(offsets)
        self.counts = 0

    def __call__(self, history: HistoryStore) -> list[Offset]:
        self.counts += 1
        return [Offset(offset) for offset in self.offsets]


async def limits(
    path: Path, policy: str, replicas: Replicas, **store: object
) -> tuple[AckLimit, HistoryStore]:
    """A limit over a history with one SET, not durable yet."""
    feed = open_feed(path, **store)
    history = hold(feed._store)
    feed.history = history
    feed.append(SET)
    return AckLimit(ack_policy(policy), feed, replicas), history


async def test_received_is_the_end_of_the_journal(tmp_path: Path) -> None:
    limit, history = await limits(tmp_path, "received", Replicas())
    assert limit.now(history) == (END, START)


async def test_durable_is_what_is_on_the_disk(tmp_path: Path) -> None:
    limit, history = await limits(tmp_path, "durable", Replicas())
    assert limit.now(history) == (START, START)
    await limit._feed.syncing.sync()
    assert limit.now(history) == (END, END)


async def test_nothing_is_durable_before_its_snapshot_is(tmp_path: Path) -> None:
    feed = open_feed(tmp_path)
    history = feed._store.begin_history(REPLID, START, origin="a test")
    feed.history = history
    feed.append(SET)
    await feed.syncing.sync()
    assert history.journal.durable_end == END
    assert AckLimit(ack_policy("durable"), feed, Replicas()).now(history) == (0, 0)
    assert AckLimit(ack_policy("received"), feed, Replicas()).now(history) == (END, 0)


async def test_without_fsync_nothing_is_said_of_it(tmp_path: Path) -> None:
    limit, history = await limits(tmp_path, "received", Replicas(), fsync=FsyncPolicy.NO)
    assert limit.now(history) == (END, None)


@pytest.mark.parametrize(
    ("offsets", "said"),
    [
        ((), 0),
        ((END,), 0),
        ((END, START), START),
        ((START, END, START + 1), START + 1),
        ((END, END, END), END),
        ((10**12, 10**12), END),  # no replica makes us claim what we do not have
    ],
)
async def test_a_quorum_is_the_highest_offset_that_enough_have(
    tmp_path: Path, offsets: tuple[int, ...], said: int
) -> None:
    limit, history = await limits(tmp_path, "quorum:2", Replicas(*offsets))
    assert limit.now(history) == (said, min(said, START))


async def test_a_quorum_is_counted_when_it_has_changed(tmp_path: Path) -> None:
    replicas = Replicas(START)
    limit, history = await limits(tmp_path, "quorum:1", replicas)
    for _ in range(100):
        limit.now(history)
    assert replicas.counts == 1
    replicas.offsets = [END]
    assert limit.now(history)[0] == START
    limit.recount()
    assert limit.now(history)[0] == END


async def test_a_master_hears_of_the_quorum_as_soon_as_it_is_there(tmp_path: Path) -> None:
    """The relay's parts together: a replica's ACK goes on to a master that waits for it."""
    getack = b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n"
    policy = AckPolicy(AckKind.QUORUM, 1)
    async with FakeMaster() as master, relay(tmp_path, master.port, ack_policy=policy) as it:
        peer, _ = await master.asked()
        peer.full(REPLID, START)
        await it.holds(START)
        with await it.replica() as replica:
            await replica.ask(REPLID, START)
            assert (await replica.line()).startswith(b"+CONTINUE")
            peer.say(SET + getack)
            assert await replica.exactly(len(SET + getack)) == SET + getack
            await until("a first answer", lambda: it.link.status().acked_offset == 0)
            await replica.send(ack(END))
            await peer.acked(END)
            assert it.link.status().acked_offset == END
            await replica.send(ack(END + len(getack)))


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        ([("a", 1, 9, 50), ("b", 2, 9, 60)], [50, 60]),
        ([("a", 1, 4, 50), ("a", 5, 9, 60)], [60]),  # the first is silent since the second
        ([("a", 1, 9, 50), ("a", 5, 9, 60)], [50, 60]),  # two behind one address
        ([("a", 1, 2, 50), ("a", 3, 4, 60), ("a", 5, 6, 70)], [70]),
    ],
)
def test_a_replica_counts_once(
    said: list[tuple[str, float, float, int]], counted: list[int]
) -> None:
    assert each_once(Acknowledgement(*one[:3], Offset(one[3])) for one in said) == counted


async def test_a_replica_and_its_old_connection_are_no_quorum(tmp_path: Path) -> None:
    """Found in review: a replica that had lost its network made up a quorum of two alone."""
    held(tmp_path, SET)
    async with port(tmp_path) as it:

        async def stream(replica: FakeReplica) -> None:
            await replica.ask(REPLID, START, b"listening-port 7000")
            await replica.line()
            await replica.exactly(len(SET))
            await replica.send(ack(END))

        with await it.replica() as lost:
            await stream(lost)
            await until("its ACK", lambda: it.downstream.acknowledged(it.history) == [END])
            with await it.replica() as back:
                await stream(back)
                sessions = it.sessions
                await until("its ACK", lambda: sessions[1].acknowledged_in(it.history))
                assert it.downstream.acknowledged(it.history) == [END]
                await lost.send(ack(END))  # so these are two, behind one address
                await until("both", lambda: len(it.downstream.acknowledged(it.history)) == 2)


async def test_no_more_is_acknowledged_than_was_sent(tmp_path: Path) -> None:
    """Found in review: an ACK past what a replica had been sent counted as it stood."""
    held(tmp_path, SET)
    async with port(tmp_path) as it:
        with await it.replica() as replica:
            await replica.ask(REPLID, START)
            await replica.line()
            await replica.exactly(len(SET))
            await replica.send(ack(END + 1000))
            await until("the ACK", lambda: it.downstream.acknowledged(it.history) == [END])


async def test_a_client_that_wants_the_snapshot_alone_holds_nothing(tmp_path: Path) -> None:
    """Found by attack: with a partial resync it counted as a replica."""
    async with FakeMaster() as master, relay(tmp_path, master.port) as it:
        peer, _ = await master.asked()
        peer.full(REPLID, START)
        await it.holds(START)
        with await it.replica() as replica:
            await replica.ask(REPLID, START, b"rdb-only 1")
            assert (await replica.line()).startswith(b"+CONTINUE")
            peer.say(SET)
            assert await replica.exactly(len(SET)) == SET
            await replica.send(ack(END))
            (session,) = it.downstream._sessions.values()
            await until("its ACK", lambda: session.protocol.replica.acked == END)
            assert session.acknowledged_in(it.history) is None
