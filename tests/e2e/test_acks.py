"""ACK policies against real masters: what `WAIT` and `WAITAOF` say through a relay is true."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import hiredis
import pytest

from tests.servers.client import Client
from tests.servers.dataset import wait_same
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.relay import Relay
from tests.servers.server import Server
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.relay_only

_WITH_WAITAOF = ("redis-8.2", "valkey-8.1", "valkey-9.1")
_WITHOUT_WAITAOF = ("redis-6.2", "redis-7.0")


def _quorum(lab: Lab, replicas: int) -> tuple[Server, Relay, list[Server]]:
    """A master, a relay with `quorum:2`, and replicas behind it that stream."""
    master = lab.master("redis-7.0")
    relay = lab.relay(master, upstream_ack_policy="quorum:2")
    below = [lab.server("redis-7.0", f"replica-{n}", upstream=relay) for n in range(replicas)]
    for node in (relay, *below):
        node.wait_link()
    # What is not published yet is gone with a kill, and the master gives another full sync.
    relay.wait_stored()
    return master, relay, below


@pytest.mark.parametrize("program", [*_WITHOUT_WAITAOF, *_WITH_WAITAOF])
def test_wait_is_answered_with_every_version(lab: Lab, program: str) -> None:
    """FACK rides on every ACK, also to servers that do not know it."""
    master = lab.master(program)
    relay = lab.relay(master)
    relay.wait_link()
    with master.client() as client:
        for number in range(50):
            client.call("SET", "key", number)
            assert client.call("WAIT", 1, 50_000) == 1


@pytest.mark.parametrize("fsync", ["always", "everysec"])
@pytest.mark.parametrize("program", _WITH_WAITAOF)
def test_waitaof_waits_for_the_relays_disk(lab: Lab, program: str, fsync: str) -> None:
    """FACK is the offset up to which the journal has been forced to the disk."""
    master = lab.master(program)
    relay = lab.relay(master, store_fsync=fsync)
    relay.wait_link()
    with master.client() as client:
        for number in range(5):
            client.call("SET", "key", number)
            assert client.call("WAITAOF", 0, 1, 50_000) == [0, 1]


@pytest.mark.parametrize("program", _WITH_WAITAOF)
def test_waitaof_counts_no_relay_that_promises_nothing(lab: Lab, program: str) -> None:
    """With fsync `no` there is no FACK."""
    master = lab.master(program)
    relay = lab.relay(master, store_fsync="no")
    relay.wait_link()
    with master.client() as client:
        client.call("SET", "key", "value")
        assert client.call("WAIT", 1, 50_000) == 1
        assert client.call("WAITAOF", 0, 1, 1500) == [0, 0]


@pytest.mark.parametrize("program", ["redis-7.0", "valkey-9.1"])
def test_durable_never_acknowledges_more_than_is_on_the_disk(lab: Lab, program: str) -> None:
    """Both numbers come from one moment of the relay, under load; WAIT takes one fsync."""
    master = lab.master(program)
    relay = lab.relay(master, upstream_ack_policy="durable")
    relay.wait_link()
    with Load(master, features=master.flavour.features), master.client() as client:
        for number in range(100):
            client.call("SET", "waited for", number)
            assert client.call("WAIT", 1, 50_000) == 1
            status = relay.status()
            acked = status["upstream"]["acked_offset"]
            assert acked is not None
            assert acked <= status["journal"]["durable_offset"]
    told = max(int(line["offset"]) for line in master.replicas())
    assert told <= relay.status()["journal"]["durable_offset"]


def test_a_quorum_is_not_claimed_without_its_replicas(lab: Lab) -> None:
    """One of two replicas stands still: WAIT says no; it goes on: WAIT says yes."""
    master, relay, (first, second) = _quorum(lab, 2)
    with master.client() as client:
        client.call("SET", "key", "both")
        assert client.call("WAIT", 1, 50_000) == 1
        second.freeze()
        client.call("SET", "key", "one")
        assert client.call("WAIT", 1, 1500) == 0
        wait_for("the first replica has it", lambda: first.call("GET", "key") == b"one")
        # What the master says meanwhile, a PING or a GETACK, may be between the two.
        wait_for("the first replica has all", lambda: relay.offset == first.offset)
        second.thaw()
        assert client.call("WAIT", 1, 50_000) == 1
        assert second.call("GET", "key") == b"one"
        second.kill()
        client.call("SET", "key", "one again")
        assert client.call("WAIT", 1, 1500) == 0
    assert master.syncs.full == 1


def test_a_restarted_relay_does_not_claim_what_it_resumes_with(lab: Lab) -> None:
    """The granted offset is what the relay has; whether two replicas have it is another matter."""
    master, relay, (first, second) = _quorum(lab, 2)
    for replica in (first, second):
        replica.freeze()
    with master.client() as client:
        client.call("SET", "key", "value")
        wait_for("the relay has it", lambda: relay.offset == master.offset)
        relay.kill()
        relay.restart()
        relay.wait_link()
        assert client.call("WAIT", 1, 2500) == 0
        for replica in (first, second):
            replica.thaw()
        assert client.call("WAIT", 1, 50_000) == 1
        assert [replica.call("GET", "key") for replica in (first, second)] == [b"value"] * 2
    assert master.syncs.full == 1


def test_what_wait_confirmed_is_on_two_replicas_through_every_fault(lab: Lab) -> None:
    """Kills of the relay, replicas that stop and are cut off: no WAIT lies, and none is lost."""
    master, relay, replicas = _quorum(lab, 3)
    confirmed = _Confirmed(master, replicas)
    rng = random.Random(3)
    with confirmed:
        for round_number in range(12):
            # Real time on purpose: the moment of the fault is what is random here.
            time.sleep(rng.uniform(0.05, 0.4))
            victim = rng.choice(replicas)
            match round_number % 3:
                case 0:
                    relay.kill()
                    relay.start()
                case 1:
                    with confirmed.frozen(victim):
                        time.sleep(rng.uniform(0.1, 1.0))
                case 2:
                    relay.drop_replicas()
            wait_for("a write is confirmed again", confirmed.news(), 60)
    assert not confirmed.lies
    assert confirmed.count >= 12
    wait_same(master, *replicas)
    assert master.syncs.full == 1


def test_what_wait_confirmed_survives_relay_and_master(lab: Lab) -> None:
    """Both die at once, for good: every write that WAIT had said yes for is on both replicas."""
    master, relay, replicas = _quorum(lab, 2)
    confirmed = _Confirmed(master, replicas)
    with confirmed:
        wait_for("enough writes", lambda: confirmed.count >= 300, 60)
        relay.kill()
        master.kill()
    assert not confirmed.lies
    for replica in replicas:
        held = int(replica.call("GET", "counter") or 0)
        assert held >= confirmed.count


class _Confirmed:
    """Counts a key up, waits for one replica each time, and looks who has it when WAIT says yes.

    Attributes:
        count: The last value that WAIT confirmed.
        lies: Values that WAIT confirmed and fewer than two replicas had.
    """

    def __init__(self, master: Server, replicas: list[Server]) -> None:
        self._master = master
        self._replicas = replicas
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="confirmed")
        self._frozen: tuple[Server, float] | None = None
        self.count = 0
        self.lies: list[int] = []

    @contextmanager
    def frozen(self, replica: Server) -> Iterator[None]:
        """Stop a replica for a while; what it has meanwhile can't be asked."""
        self._frozen = replica, float("inf")  # until it stands still for sure
        replica.freeze()
        self._frozen = replica, time.monotonic()
        yield
        self._frozen = None  # first: once it goes on it may say so at any moment
        replica.thaw()

    def __enter__(self) -> _Confirmed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def news(self) -> Callable[[], bool]:
        """Give a condition: more has been confirmed than now."""
        before = self.count
        return lambda: self.count > before

    def _run(self) -> None:
        value = 0
        try:
            with self._master.client() as client:
                while not self._stop.is_set():
                    value += 1
                    began = time.monotonic()
                    client.call("SET", "counter", value)
                    if client.call("WAIT", 1, 200) < 1:
                        continue
                    self.count = value
                    self._look(value, began)
        except OSError:
            return  # the master was killed: what it confirmed stands

    def _look(self, value: int, began: float) -> None:
        have = 0
        for replica in self._replicas:
            frozen = self._frozen
            if frozen is not None and frozen[0] is replica:
                # It can have said so only before it was stopped.
                have += frozen[1] >= began
                continue
            try:
                with Client(replica.port, timeout_seconds=0.5) as client:
                    have += int(client.call("GET", "counter") or 0) >= value
            except TimeoutError:
                have += 1  # stopped while it was asked: it had the time to say so before
            except hiredis.ReplyError:
                continue
        if have < 2:
            self.lies.append(value)
