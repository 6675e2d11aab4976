"""Topics that are there, and that are not."""

from __future__ import annotations

import confluent_kafka
import pytest

from repltap.sink import SinkError, SinkErrorKind
from sinks._kafka.settings import connection
from sinks._kafka.topics import ensure, partitions_of
from tests.servers.kafka import Broker
from tests.servers.ports import free_port
from tests.sinks.kafka_target import client_of, settings


def test_partitions_are_counted(broker: Broker) -> None:
    client = client_of(broker.address)
    broker.create("three", 3)
    assert partitions_of(client, "three") == 3
    assert partitions_of(client, "missing") == 0
    assert partitions_of(client, "missing") == 0  # asking for it did not create it


def test_a_missing_topic_is_created_only_where_that_is_wanted(broker: Broker) -> None:
    client = client_of(broker.address)
    config = connection(settings(brokers=broker.address))

    def made(create: int) -> int:
        return ensure(confluent_kafka, client, config, "new", create=create)

    with pytest.raises(SinkError, match="topic new does not exist.*create_partitions") as raised:
        made(0)
    assert not raised.value.passes
    assert made(2) == 2
    assert made(0) == 2
    assert made(5) == 2  # it is left as it is


def test_without_brokers_nothing_is_said_of_topics() -> None:
    client = client_of(f"127.0.0.1:{free_port()}", timeout=1)
    with pytest.raises(SinkError, match="could not be asked") as raised:
        partitions_of(client, "t")
    assert (raised.value.kind, raised.value.passes) == (SinkErrorKind.AWAY, True)


def test_brokers_that_never_answered_are_not_waited_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Found by a new user: a sink was `starting` for half a minute, and nothing said why."""
    monkeypatch.setattr("sinks._kafka.topics._FIRST_SECONDS", 0.1)
    address = f"127.0.0.1:{free_port()}"
    client = client_of(address, timeout=600)
    config = connection(settings(brokers=address))
    with pytest.raises(SinkError, match="could not be asked"):
        ensure(confluent_kafka, client, config, "t", create=1)
