"""The Kafka sink before brokers that answer with errors, which no real one does on demand.

Idempotent delivery alone: the mock cluster keeps no offsets that a transaction commits.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from repltap.sink import SinkError, SinkErrorKind
from sinks.kafka import KafkaSink
from tests.servers import mock_kafka
from tests.servers.mock_kafka import MockCluster
from tests.servers.waiting import PATIENCE_SECONDS
from tests.sinks.driver import StubContext
from tests.sinks.kafka_target import TOPIC, settings
from tests.sinks.records import document, flat, numbered

PASSING = {
    "not_leader": mock_kafka.NOT_LEADER,
    "timed_out": mock_kafka.REQUEST_TIMED_OUT,
    "replicas": mock_kafka.NOT_ENOUGH_REPLICAS,
    "replicas_after_append": mock_kafka.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    "storage": mock_kafka.STORAGE_ERROR,
}


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with MockCluster() as running:
        running.create(TOPIC)
        yield running


def sink_of(cluster: MockCluster) -> KafkaSink:
    """Make a sink whose every commit is one request; `flush` does not wait for `linger.ms`.

    Were a batch cut in two, as by a pause of some ms between two messages, the second request could
    be taken while the first is refused: a real broker looks at their order, the mock does not.
    """
    given = {
        "compression": "none",
        "timeout_seconds": PATIENCE_SECONDS,
        "kafka": ["retry.backoff.ms=20", "linger.ms=60000"],
    }
    return KafkaSink(settings(brokers=f"{cluster.address}/{TOPIC}", **given))


def held(cluster: MockCluster) -> list[Any]:
    """Read the topic from its beginning to its end."""
    consumer = Consumer(
        {"bootstrap.servers": cluster.address, "group.id": "test", "enable.auto.commit": False}
    )
    try:
        _, end = consumer.get_watermark_offsets(TopicPartition(TOPIC, 0), timeout=PATIENCE_SECONDS)
        consumer.assign([TopicPartition(TOPIC, 0, 0)])
        found: list[Any] = []
        while len(found) < end:
            message = consumer.poll(PATIENCE_SECONDS)
            assert message is not None, f"{len(found)} of {end} messages came"
            assert message.error() is None, message.error()
            found.append(json.loads(message.value()))
        return found
    finally:
        consumer.close()


@pytest.mark.parametrize("error", PASSING.values(), ids=PASSING)
def test_an_error_that_passes_is_not_seen_in_the_topic(cluster: MockCluster, error: int) -> None:
    """librdkafka tries again: each record is there once, in order."""
    batches = numbered(60, batch=20)
    sink = sink_of(cluster)
    sink.open(StubContext())
    for batch in batches:
        cluster.answer(mock_kafka.PRODUCE, [error, error])
        sink.write(batch)
        sink.commit("place")
    sink.close()
    assert held(cluster) == [document(record) for record in flat(batches)]


def test_a_refusal_is_an_error_and_nothing_is_missing_when_it_is_over(
    cluster: MockCluster,
) -> None:
    first, second = numbered(40, batch=20)
    sink = sink_of(cluster)
    sink.open(StubContext())
    sink.write(first)
    sink.commit("one")
    cluster.answer(mock_kafka.PRODUCE, [mock_kafka.TOPIC_AUTHORIZATION_FAILED])
    # A fatal error of the producer: what came behind the message could not keep its order. It was
    # found to end the worker, as a SystemError of confluent-kafka.
    with pytest.raises(SinkError, match=f"topic {TOPIC} "):
        sink.write(second)
        sink.commit("two")
    sink.close()
    sink.open(StubContext(place="one"))
    sink.write(second)
    sink.commit("two")
    sink.close()
    assert held(cluster) == [document(record) for record in flat([first, second])]


def test_brokers_that_go_away_are_waited_for_and_then_told_of(cluster: MockCluster) -> None:
    first, second = numbered(40, batch=20)
    sink = sink_of(cluster)
    sink.open(StubContext())
    sink.write(first)
    sink.commit("one")
    cluster.take_down()
    assert sink._client is not None
    sink._client.timeout_seconds = 3
    with pytest.raises(SinkError) as raised:
        sink.write(second)
        sink.commit("two")
    assert (raised.value.kind, raised.value.passes) == (SinkErrorKind.AWAY, True)
    sink.close()
    cluster.bring_up()
    sink.open(StubContext(place="one"))
    sink.write(second)
    sink.commit("two")
    sink.close()
    found = held(cluster)
    # What was on its way when they went may have arrived: the same ids again, and none missing.
    ids = [message["id"] for message in found]
    assert list(dict.fromkeys(ids)) == [record.id for record in flat([first, second])]
