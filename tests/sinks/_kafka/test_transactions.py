"""Where a sink goes on whose place is in Kafka, and who may deliver."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import pytest
from confluent_kafka import Producer

from repltap.sink import SinkError
from sinks.kafka import KafkaSink
from tests.servers.kafka import Broker
from tests.servers.waiting import PATIENCE_SECONDS
from tests.sinks.driver import StubContext
from tests.sinks.kafka_target import settings
from tests.sinks.records import Stream

_numbers = itertools.count()


class Delivery:
    """A topic of its own, and sinks of one name that deliver to it."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.topic = f"t{next(_numbers)}"
        self.stream = Stream()
        broker.create(self.topic)

    def sink(self, **given: Any) -> KafkaSink:
        given = {
            "timeout_seconds": PATIENCE_SECONDS,
            "delivery": "transactional",
            "compression": "none",
            **given,
        }
        return KafkaSink(settings(brokers=f"{self.broker.address}/{self.topic}", **given))

    def context(self, place: str | None = None, state: Any = None) -> StubContext:
        return StubContext(place, state, name=self.topic)

    def write(self, sink: KafkaSink, value: bytes) -> None:
        sink.write([self.stream.command(b"SET", b"k", value)])

    def commit(self, sink: KafkaSink, value: bytes, place: str) -> Any:
        self.write(sink, value)
        return sink.commit(place)

    def values(self) -> list[bytes]:
        found = self.broker.read(self.topic)
        return [value for m in found for value in (b"one", b"two", b"three") if value in m.value]


@pytest.fixture
def delivery(broker: Broker) -> Delivery:
    return Delivery(broker)


def test_nothing_is_visible_before_the_commit(delivery: Delivery) -> None:
    sink = delivery.sink()
    assert sink.open(delivery.context()) is None
    delivery.write(sink, b"one")
    sink._client.flush()
    assert len(delivery.broker.read(delivery.topic, committed=False)) == 1
    assert delivery.values() == []
    sink.commit("p1")
    assert delivery.values() == [b"one"]
    sink.close()


def test_what_is_open_at_the_end_is_aborted(delivery: Delivery) -> None:
    sink = delivery.sink()
    sink.open(delivery.context())
    delivery.commit(sink, b"one", "p1")
    delivery.write(sink, b"two")
    sink._client.flush()
    sink.close()
    assert delivery.values() == [b"one"]
    sink = delivery.sink()
    assert sink.open(delivery.context()) == "p1"
    delivery.commit(sink, b"three", "p2")
    sink.close()
    assert delivery.values() == [b"one", b"three"]


def test_the_later_of_both_places_counts(delivery: Delivery) -> None:
    sink = delivery.sink()
    sink.open(delivery.context())
    first = delivery.commit(sink, b"one", "p1")
    second = delivery.commit(sink, b"two", "p2")
    assert sink.commit("p3") == second  # nothing was written: only the checkpoint moves on
    sink.close()
    for place, state, expected in [
        ("p3", second, None),  # the checkpoint is further
        ("p2", second, None),
        ("p1", first, "p2"),  # Kafka is: the worker was killed before it kept the checkpoint
        (None, None, "p2"),  # the checkpoint is lost
    ]:
        sink = delivery.sink()
        assert sink.open(delivery.context(place, state)) == expected, (place, state)
        sink.close()


def test_a_first_commit_of_nothing_does_not_hide_the_next(delivery: Delivery) -> None:
    """Found by kills under load: its transaction was delivered twice."""
    sink = delivery.sink()
    sink.open(delivery.context())
    first = sink.commit("p0")  # there was nothing yet; the worker keeps a checkpoint
    delivery.commit(sink, b"one", "p1")
    sink.close()
    sink = delivery.sink()  # it was killed before it kept the next
    assert sink.open(delivery.context("p0", first)) == "p1"
    sink.close()


def test_a_commit_of_nothing_behind_another_kind_of_delivery_does_not_either(
    delivery: Delivery, caplog: pytest.LogCaptureFixture
) -> None:
    sink = delivery.sink()
    sink.open(delivery.context())
    delivery.commit(sink, b"one", "p1")
    sink.close()
    sink = delivery.sink()
    assert sink.open(delivery.context("p2", {})) is None
    state = sink.commit("p3")
    sink.close()
    sink = delivery.sink()
    assert sink.open(delivery.context("p3", state)) is None
    delivery.commit(sink, b"two", "p4")
    sink.close()
    sink = delivery.sink()
    assert sink.open(delivery.context("p3", state)) == "p4"
    sink.close()
    assert "lost" not in caplog.text


def test_a_place_from_before_another_kind_of_delivery_does_not_count(delivery: Delivery) -> None:
    sink = delivery.sink()
    sink.open(delivery.context())
    delivery.commit(sink, b"one", "p1")
    sink.close()
    sink = delivery.sink(delivery="idempotent")
    assert sink.open(delivery.context("p1", {})) is None
    assert delivery.commit(sink, b"two", "p2") is None
    sink.close()
    sink = delivery.sink()
    assert sink.open(delivery.context("p2", {})) is None
    state = delivery.commit(sink, b"three", "p3")
    sink.close()
    sink = delivery.sink()
    assert sink.open(delivery.context("p3", state)) is None
    sink.close()


def test_behind_a_reset_kafka_tells_what_it_holds(delivery: Delivery) -> None:
    """Whether that counts, the worker knows: it is the one that was committed behind the reset."""
    sink = delivery.sink()
    sink.open(delivery.context())
    state = delivery.commit(sink, b"one", "p1")
    sink.close()
    for place, known, expected in [
        (None, {}, "p1"),
        ("p0", {}, "p1"),  # the last commit before was not in a transaction
        ("p0", state, None),  # what it holds is from before
    ]:
        context = delivery.context(place, known)
        context.reset_name = "a reset"
        sink = delivery.sink()
        assert sink.open(context) == expected, (place, known)
        # Without records Kafka's place stays, and counts for the state that is kept no more.
        assert sink.commit("p1") == state
        sink.close()


def test_a_place_that_kafka_has_lost_is_said(
    delivery: Delivery, caplog: pytest.LogCaptureFixture
) -> None:
    sink = delivery.sink()
    with caplog.at_level(logging.WARNING):
        assert sink.open(delivery.context("p9", {"place_offset": 7})) is None
    assert "Kafka has lost the place" in caplog.text
    state = delivery.commit(sink, b"one", "p10")
    sink.close()
    caplog.clear()
    sink = delivery.sink()
    assert sink.open(delivery.context("p9", {"place_offset": 7})) is None  # still further on
    assert "Kafka has lost the place" in caplog.text
    sink.close()
    sink = delivery.sink()
    assert sink.open(delivery.context("p10", state)) is None
    sink.close()


def test_a_second_one_shuts_the_first_out(delivery: Delivery) -> None:
    first, second = delivery.sink(), delivery.sink()
    first.open(delivery.context())
    delivery.commit(first, b"one", "p1")
    delivery.write(first, b"two")
    assert second.open(delivery.context()) == "p1"
    delivery.commit(second, b"two", "p2")
    with pytest.raises(SinkError, match="another producer has taken over") as raised:
        delivery.commit(first, b"three", "p3")
    assert not raised.value.passes
    assert "transactional_id" in raised.value.hint
    first.close()
    delivery.commit(second, b"three", "p3")
    second.close()
    assert delivery.values() == [b"one", b"two", b"three"]


def test_sinks_of_other_names_share_the_topic_of_places(delivery: Delivery) -> None:
    one, other = delivery.sink(), delivery.sink(transactional_id=f"{delivery.topic}-other")
    one.open(delivery.context())
    other.open(delivery.context())
    delivery.commit(one, b"one", "mine")
    delivery.commit(other, b"two", "other's")
    delivery.write(other, b"three")  # its transaction is open while the first looks its place up
    other._client.flush()
    one.close()
    one = delivery.sink()
    assert one.open(delivery.context()) == "mine"
    one.close()
    other.close()


def test_a_place_of_an_aborted_transaction_never_counts(delivery: Delivery) -> None:
    sink = delivery.sink()
    sink.open(delivery.context())
    delivery.commit(sink, b"one", "p1")
    sink.close()
    name = f"repltap.m.{delivery.topic}"
    config = {"bootstrap.servers": delivery.broker.address, "transactional.id": name}
    dying = Producer(config)
    dying.init_transactions(PATIENCE_SECONDS)
    dying.begin_transaction()
    dying.produce(f"{delivery.topic}.repltap", b"p2", name.encode(), 0)
    dying.flush(PATIENCE_SECONDS)  # as a worker leaves it that is killed here
    sink = delivery.sink()
    assert sink.open(delivery.context()) == "p1"
    delivery.commit(sink, b"two", "p2")
    sink.close()
    assert delivery.values() == [b"one", b"two"]
    sink = delivery.sink()
    assert sink.open(delivery.context()) == "p2"
    sink.close()
