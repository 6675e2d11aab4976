"""Topics: how many partitions one has, and its creation."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from repltap.sink import SinkError
from sinks._kafka.client import Client
from sinks._kafka.failures import failure

_FIRST_SECONDS = 10.0
"""How long brokers are asked first of all. Nothing is under way yet, and until it is over nobody is
told why a sink does not start; `timeout_seconds` is for brokers that had answered."""


def partitions_of(client: Client, topic: str, *, seconds: float | None = None) -> int:
    """Ask how many partitions a topic has; 0 if there is no such topic.

    All topics are asked for: brokers may create one that is asked for by name.

    Args:
        client: Asks.
        topic: Its name.
        seconds: How long it is tried at most; None for as long as brokers may take.

    Raises:
        SinkError: The brokers can't be reached, or refuse.
    """
    found = client.retry(
        "the brokers could not be asked for the topic",
        lambda step: client.producer.list_topics(timeout=step),
        seconds=seconds,
    )
    told = found.topics.get(topic)
    if told is None:
        return 0
    if told.error is not None:
        raise failure(told.error, f"topic {topic}")
    return len(told.partitions)


def ensure(
    library: Any,
    client: Client,
    connection: Mapping[str, Any],
    topic: str,
    *,
    create: int,
    compacted: bool = False,
) -> int:
    """Create a topic if it is not there.

    Args:
        library: The module confluent_kafka.
        client: Asks for topics.
        connection: The configuration of clients.
        topic: Its name.
        create: With how many partitions; 0: it has to be there.
        compacted: Only the last message of each key is kept.

    Returns:
        How many partitions it has.

    Raises:
        SinkError: It is not there, or can't be created.
    """
    first = min(_FIRST_SECONDS, client.timeout_seconds)
    if count := partitions_of(client, topic, seconds=first):
        return count
    if not create:
        raise SinkError(
            f"topic {topic} does not exist",
            hint="create it, or set create_partitions",
            passes=False,
        )
    admin = importlib.import_module("confluent_kafka.admin")
    settings = {"cleanup.policy": "compact"} if compacted else {}
    try:
        clients = admin.AdminClient({**connection, "logger": client.log})
        made = clients.create_topics([admin.NewTopic(topic, create, config=settings)])
        made[topic].result(client.timeout_seconds)
    except library.KafkaException as exc:
        if exc.args[0].name() != "TOPIC_ALREADY_EXISTS":
            hint = " (one partition, cleanup.policy=compact)" if compacted else ""
            raise failure(exc.args[0], f"topic {topic} could not be created{hint}") from None
    except TimeoutError:
        raise client.away(f"topic {topic} was not created") from None

    def seen(_: float) -> int:
        # One broker may know of it before others do.
        count = partitions_of(client, topic)
        if not count:
            timed_out = library.KafkaError(library.KafkaError._TIMED_OUT)  # noqa: SLF001
            raise library.KafkaException(timed_out)
        return count

    found: int = client.retry(f"topic {topic} was created and is not there", seen)
    return found
