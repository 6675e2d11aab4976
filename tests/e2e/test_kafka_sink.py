"""The kafka sink from end to end: what is in the topic is what the master has executed.

The broker is Tansu. It keeps its topics in memory, so that a restart empties it, and it tells
consumers of no aborted transaction: `Broker.read` leaves out what a transaction has aborted, as
Kafka's `read_committed` does.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from repltap.sink import Record
from sinks._kafka.murmur2 import positive
from sinks._partitions import Partitions
from tests.e2e.test_sinks import attached, settle
from tests.servers.kafka import Broker, Message
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.waiting import wait_for
from tests.servers.worker import Worker
from tests.sinks.records import document

pytestmark = [pytest.mark.e2e, pytest.mark.relay_only]

EVERY_KIND = pytest.mark.parametrize(
    ("delivery", "partitions"),
    [("idempotent", 1), ("transactional", 1), ("idempotent", 3), ("transactional", 3)],
)
DELIVERY = pytest.mark.parametrize("delivery", ["idempotent", "transactional"])


@pytest.fixture
def broker(lab: Lab) -> Iterator[Broker]:
    """A broker behind a proxy, which clients are told to use."""
    with Broker(lab.directory / "broker", proxied=True) as running:
        yield running


class Tap:
    """A master, a relay, and a worker that delivers to a topic."""

    def __init__(
        self, lab: Lab, broker: Broker, delivery: str, partitions: int = 1, **settings: str | float
    ) -> None:
        self.master, self.relay, self.oracle = attached(lab)
        # The oracle is not read before the end, and acknowledges nothing.
        self.master.call("CONFIG", "SET", "repl-timeout", 3600)
        self.broker = broker
        self.topic = "t"
        self.partitions = partitions
        self.exactly_once = delivery == "transactional"
        self.until = 0  # what the records have to be compared up to
        given = {
            "delivery": delivery,
            "create_partitions": partitions,
            "compression": "zstd",
            "commit_seconds": 0.05,
            "timeout_seconds": 2,
            **settings,
        }
        spec = f"kafka:{broker.address}/{self.topic}"
        self.worker = Worker(
            lab.directory / "worker", self.relay.data_dir, spec, sink="k", settings=given
        )
        lab.add(self.worker, start=False)

    def load(self, **given: Any) -> Load:
        return Load(self.master, features=self.master.flavour.features, **given)

    def wait_more(self, count: int) -> None:
        """Wait until so many messages more were written."""
        before = self._end()
        wait_for("more is delivered", lambda: self._end() > before + count, 60)

    def wait_held(self, count: int) -> None:
        """Wait until the topic holds so many messages, however many there were before."""
        wait_for("they are delivered", lambda: self._end() > count)

    def wait_commit(self) -> None:
        """Wait for another commit: an error from before it is told anew when it comes again."""
        before = self.worker.place
        wait_for("another commit", lambda: self.worker.place != before)

    def wait_delivered(self) -> int:
        """Wait until the sink has committed all that the master has sent; nobody writes."""
        end = settle(self.master, self.relay)
        wait_for("all is committed", lambda: self.worker.place.get("offset", 0) >= end)
        return end

    def finish(self) -> list[Record]:
        """Deliver the rest, and say what the topic has to have."""
        end = settle(self.master, self.relay)
        self.worker.stop()
        self.worker.start(until_end=True)
        assert self.worker.wait(60) == 0, self.worker.log_tail
        self.until = end
        return self.oracle.records(end)

    def check(self, messages: list[Message], records: list[Record]) -> None:
        """Compare each partition with what it has to have, in order."""
        rule = Partitions(self.partitions, positive)
        for partition in range(self.partitions):
            # Keys go on expiring.
            found = [m for m in messages if m.partition == partition and m.end <= self.until]
            if not self.exactly_once:
                found = first_of_each(found)
            expected = [
                (key, shown(document(record)))
                for record in records
                for key, target in rule.targets(record)
                if target == partition
            ]
            assert [(m.key, shown(json.loads(m.value))) for m in found] == expected
            assert len(expected) > 300

    def _end(self) -> int:
        try:
            return self.broker.end(self.topic, self.partitions)
        except AssertionError:
            return 0  # the sink has not created it yet


def shown(said: dict[str, Any]) -> dict[str, Any]:
    """What the master's own replica can say of a record."""
    return {name: value for name, value in said.items() if name not in ("source", "ts_ms")}


def first_of_each(messages: list[Message]) -> list[Message]:
    first: dict[str, Message] = {}
    for message in messages:
        same = first.setdefault(message.id, message)
        assert (same.key, same.value) == (message.key, message.value), "two of one id differ"
    return list(first.values())


@pytest.mark.slow
@EVERY_KIND
def test_a_worker_that_is_killed_again_and_again(
    lab: Lab, broker: Broker, delivery: str, partitions: int
) -> None:
    """At random moments under load, while it opens included; 50 were tried of the first two."""
    tap = Tap(lab, broker, delivery, partitions)
    assert broker.proxy is not None
    rng = random.Random(partitions)
    with tap.load(pause_seconds=0.02):
        for _ in range(12):
            connections = broker.proxy.connections
            tap.worker.start()
            if rng.random() < 0.3:
                wanted = connections + rng.randrange(1, 6 if tap.exactly_once else 3)
                wait_for("it connects", lambda n=wanted: broker.proxy.connections >= n)  # type: ignore[misc, union-attr]
            else:
                tap.wait_more(rng.randrange(400))
            tap.worker.kill()
    records = tap.finish()
    messages = broker.read(tap.topic, partitions)
    tap.check(messages, records)
    everything = broker.read(tap.topic, partitions, committed=False)
    if tap.exactly_once:
        assert len(everything) > len(messages), "no transaction was aborted"
    else:
        distinct = {(m.partition, m.id) for m in everything}
        assert len(everything) > len(distinct), "nothing came twice"


@DELIVERY
def test_connections_that_are_cut(lab: Lab, broker: Broker, delivery: str) -> None:
    tap = Tap(lab, broker, delivery)
    assert broker.proxy is not None
    tap.worker.start()
    rng = random.Random(5)
    with tap.load(pause_seconds=0.01):
        for number in range(8):
            tap.wait_more(rng.randrange(200))
            broker.proxy.cut(reset=number % 2 == 0)
    records = tap.finish()
    tap.check(broker.read(tap.topic), records)


@DELIVERY
def test_a_broker_that_is_away_for_long(lab: Lab, broker: Broker, delivery: str) -> None:
    """Frozen for longer than the timeout, and shut off: the sink says so and goes on."""
    tap = Tap(lab, broker, delivery)
    assert broker.proxy is not None
    tap.worker.start()
    with tap.load(pause_seconds=0.01):
        for number in range(3):
            tap.wait_more(200)
            tap.wait_commit()  # what is delivered may still be uncommitted
            failures = tap.worker.log.count("topic t at")
            if number % 2:
                broker.proxy.weather.refusing = True
                broker.proxy.cut()
            else:
                broker.process.freeze()
            wait_for(
                "the sink says it",
                lambda n=failures: tap.worker.log.count("topic t at") > n,  # type: ignore[misc]
            )
            broker.proxy.weather.clear()
            if not number % 2:
                broker.process.thaw()
    assert tap.worker.running
    records = tap.finish()
    tap.check(broker.read(tap.topic), records)


@DELIVERY
def test_a_broker_that_has_lost_everything(lab: Lab, broker: Broker, delivery: str) -> None:
    """What it had acknowledged is lost with it; what comes later is delivered, from there on."""
    # So many partitions has what the broker itself creates, when a producer asks for a topic.
    tap = Tap(lab, broker, delivery, 4)
    # A key that expires just before the broker's end would be lost with it.
    tap.master.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    tap.worker.start()
    tap.load().write(300)
    lost = tap.wait_delivered()
    before = broker.read(tap.topic, 4)
    broker.process.kill()
    tap.load(seed=2).write(300)
    broker.start()
    # It began empty, and may have got everything by now: nobody writes any more.
    tap.wait_held(100)
    records = tap.finish()
    assert any(record.offset_end > lost for record in records)
    tap.check([*before, *broker.read(tap.topic, 4)], records)
