"""Sinks behind a real master and relay: what they are given is what the master has executed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from repltap.delivery.commands import builtin_table
from repltap.delivery.stream import RecordStream, StreamState
from repltap.sink import Record
from tests.servers.effort import times
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.raw import RawReplica
from tests.servers.recorder import Ledger, Recorder, Worker, Written
from tests.servers.relay import Relay
from tests.servers.server import Server
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.relay_only

PROGRAMS = ["redis-6.2", "redis-7.0", "redis-8.2", "valkey-8.1", "valkey-9.1"]
PROGRAM = "redis-7.0"


Hire = Callable[..., Worker]


@pytest.fixture
def hire(tmp_path: Path) -> Iterator[Hire]:
    """Make workers, which end with the test; their logs are shown when it fails."""
    hired: list[Worker] = []

    def make(relay: Relay, kind: type[Recorder] = Recorder, **settings: str | float) -> Worker:
        hired.append(Worker(tmp_path, relay.data_dir, kind, **settings))
        return hired[-1]

    yield make
    for worker in hired:
        worker.kill()
        print(f"log of {worker.name}:", worker.log_tail)


class Oracle:
    """A replica of its own: what the master sends, decoded."""

    def __init__(self, master: Server) -> None:
        self._socket = RawReplica(master.port)
        self._socket.send(b"PSYNC ? -1\r\n")
        _, self.replid, start = self._socket.line().decode().split()
        self._socket.read(int(self._socket.line()[1:]))
        self.start = int(start)

    def records(self, until: int) -> list[Record]:
        """Read up to an offset."""
        with self._socket:
            raw = self._socket.read(until - self.start)
        stream = RecordStream(StreamState(self.start, 0), builtin_table(), source="m")
        return stream.feed(raw, self.replid, 0)


def expected(records: list[Record]) -> list[tuple[object, ...]]:
    """What a sink has to have of these commands."""
    return [
        (
            record.id,
            record.db,
            record.words,
            None if record.tx is None else [*record.tx[:2], int(record.tx.last)],
        )
        for record in records
    ]


def commands(written: list[Written], until: int) -> list[tuple[object, ...]]:
    """The commands that a sink has up to an offset: keys go on expiring."""
    return [(w.id, w.db, w.words, w.tx) for w in written if w.kind == "command" and w.end <= until]


def once(written: list[Written]) -> list[Written]:
    """Drop what comes again under the same id."""
    return list({record.id: record for record in reversed(written)}.values())[::-1]


def settle(master: Server, relay: Relay) -> int:
    """Wait until the relay has stored, durably, all that the master has sent."""

    def stored() -> bool:
        return relay.durable_offset == master.offset

    wait_for("the relay has everything", stored)
    return relay.durable_offset


def attached(lab: Lab, program: str = PROGRAM) -> tuple[Server, Relay, Oracle]:
    """A master that says nothing by itself, a relay and an oracle, all at the same offset."""
    # The oracle acknowledges nothing.
    master = lab.master(
        program, repl_ping_replica_period=3600, repl_timeout=7200, repl_diskless_sync="no"
    )
    relay = lab.relay(master)
    relay.wait_ready()
    relay.wait_link()
    return master, relay, Oracle(master)


def compare_data(lab: Lab, server: Server, written: list[Written]) -> None:
    """Execute what a sink has on an empty server, and compare the data."""
    scratch = lab.master(server.flavour, "scratch")
    open_tx = False
    with scratch.client() as client:
        for record in written:
            if record.kind == "snapshot_begin":
                client.call("FLUSHALL")
            if record.db is not None and not open_tx:
                client.call("SELECT", record.db)
            if record.kind == "snapshot":
                key, kind, value = record.words
                assert kind == b"string", "the test has snapshots of strings only"
                client.call("SET", key, value)
            if record.kind != "command":
                continue
            if record.tx is not None and not open_tx:
                client.call("MULTI")
                open_tx = True
            elif open_tx:
                client.call("SELECT", record.db or 0)
            client.call(*record.words)
            if record.tx is not None and record.tx[2]:
                client.call("EXEC")
                open_tx = False
    # What expires does so on each by itself.
    wait_for("the data is the same", lambda: scratch.digest() == server.digest())


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_sink_is_given_what_the_master_has_executed(lab: Lab, program: str, hire: Hire) -> None:
    """Every type, transactions, scripts and several databases, live and afterwards."""
    master, relay, oracle = attached(lab, program)
    worker = hire(relay)
    worker.start()
    load = Load(master, features=master.flavour.features)
    load.write(300)
    wait_for("the sink has got something", worker.written)
    load.write(300)
    end = settle(master, relay)
    assert worker.stop() == 0, worker.log_tail
    worker.finish()
    wanted = expected(oracle.records(end))
    assert len(wanted) > 2000
    assert commands(worker.written(), end) == wanted


@pytest.mark.slow
def test_a_worker_that_is_killed_again_and_again_loses_nothing(lab: Lab, hire: Hire) -> None:
    """Under load, 50 times in a full run; a target that keeps the place has nothing twice."""
    master, relay, oracle = attached(lab)
    rng = random.Random(1)
    # Commits every few batches: more moments that differ.
    workers = [hire(relay, kind, commit_seconds=0.05) for kind in (Recorder, Ledger)]
    with Load(master, features=master.flavour.features, pause_seconds=0.02):
        for _ in range(times(25)):
            for worker in workers:
                worker.start()
            for worker in workers:
                before, more = worker.written_bytes, rng.randrange(30_000)
                wait_for(
                    "the sink gets on",
                    lambda w=worker, limit=before + more: w.written_bytes > limit,  # type: ignore[misc]
                )
                worker.kill()
    end = settle(master, relay)
    wanted = expected(oracle.records(end))
    for worker in workers:
        worker.finish()
    assert len(wanted) > times(2000)
    recorder, ledger = (worker.written() for worker in workers)
    assert len(recorder) > len(once(recorder))
    assert commands(once(recorder), end) == wanted
    assert commands(ledger, end) == wanted


def test_a_failover_is_told_and_passed(lab: Lab, hire: Hire) -> None:
    """The relay follows a replica, which is promoted: the sink goes on under the new replid."""
    master = lab.master(PROGRAM)
    replica = lab.server(PROGRAM, "replica", upstream=master)
    replica.wait_link()
    relay = lab.relay(replica)
    relay.wait_ready()
    relay.wait_link()
    worker = hire(relay)
    worker.start()
    Load(master, features=master.flavour.features).write(150)
    wait_for("the replica has everything", lambda: replica.offset == master.offset)
    settle(replica, relay)
    wait_for("the sink has got something", worker.written)
    replica.call("REPLICAOF", "NO", "ONE")
    before = master.replid
    Load(replica, features=replica.flavour.features, seed=2).write(150)
    wait_for("the relay follows", lambda: relay.replid == replica.replid)
    settle(replica, relay)
    assert worker.stop() == 0
    worker.finish()
    written = worker.written()
    (notice,) = (record for record in written if record.kind == "history")
    assert notice.details["reason"] == "failover"
    assert notice.details["previous_replid"] == before
    at = written.index(notice)
    assert {record.replid for record in written[:at]} == {before}
    assert {record.replid for record in written[at:]} == {replica.replid}
    compare_data(lab, replica, written)


def test_a_full_resync_finishes_the_old_history_first(lab: Lab, hire: Hire) -> None:
    """A master that has forgotten everything; the sink was away, and is given both, in order."""
    master = lab.master(PROGRAM)
    relay = lab.relay(master)
    relay.wait_ready()
    relay.wait_link()
    worker = hire(relay, snapshot="when_needed")
    worker.finish()
    wait_for("the relay knows of the sink", lambda: "is kept for it" in relay.log)
    Load(master, features=master.flavour.features).write(150)
    settle(master, relay)
    master.kill()
    master.restart()
    with master.client() as client:
        for number in range(100):
            client.call("SET", f"new:{number}", f"value {number}")
    wait_for("the relay follows", lambda: relay.link_up and relay.replid == master.replid)
    with master.client() as client:
        client.call("SELECT", 3)
        client.call("SET", "last", "one")
    settle(master, relay)
    worker.finish()
    written = worker.written()
    kinds = [record.kind for record in written]
    assert kinds.count("history") == 1
    at = kinds.index("history")
    assert written[at].details["reason"] == "full_resync"
    assert kinds[:2] == ["snapshot_begin", "snapshot_end"]
    assert kinds[at - 100 : at] == ["command"] * 100
    assert kinds[at + 1] == "snapshot_begin"
    assert written[-1].words == [b"SET", b"last", b"one"]
    assert written[-1].db == 3
    compare_data(lab, master, written)
