"""The Kafka sink: a message for each record, in a topic of one or more partitions.

Idempotent delivery is at least once: no retry of a request doubles anything, the order is kept, and
what is written again after a crash has the same id. Transactional delivery is exactly once: the
place goes into Kafka in the transaction of the records. Which partition a record goes to is
`sinks._partitions`, by murmur2.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from repltap.sink import AnyRecord, Option, Sample, Sink, SinkContext, SinkError, SinkErrorKind
from sinks._kafka.client import Client
from sinks._kafka.messages import Messages
from sinks._kafka.murmur2 import positive
from sinks._kafka.settings import OPTIONS, connection, producing, topic_of
from sinks._kafka.topics import ensure, partitions_of
from sinks._kafka.transactions import Transactions
from sinks._partitions import Partitions

_POLL_EVERY = 1000
"""So many messages go out before failed ones are looked for; a poll costs a microsecond."""

_RECOUNT_SECONDS = 60.0


class KafkaSink(Sink):
    """Delivers to a Kafka topic, in transactions if wanted.

    Args:
        settings: The values of `options`.

    Raises:
        ValueError: The topic is given twice or not at all, or commands are to be cut.
    """

    options: ClassVar[tuple[Option, ...]] = OPTIONS
    target: ClassVar[str] = "brokers"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self.exactly_once = settings["delivery"] == "transactional"
        self._context: SinkContext | None = None
        self._client: Client | None = None
        self._transactions: Transactions | None = None
        self._messages: Messages | None = None
        self._name = ""
        self._topic = topic_of(settings)
        if settings["value"] == "resp" and settings["oversize"] == "truncate":
            raise ValueError("oversize: truncate goes with value = json: a command can't be cut")
        self._partitions = 0
        self._counted = 0.0
        self._committed = True  # nothing was written since
        self._produced = 0

    def open(self, context: SinkContext) -> str | None:
        """Reach the brokers and the topic; with transactions, find the place that Kafka holds."""
        library = _library()
        settings = self.settings
        name = None
        if settings["delivery"] == "transactional":
            name = settings["transactional_id"] or f"repltap.{context.source}.{context.name}"
        self._context, self._name, self._committed = context, context.name, True
        client = self._client = Client(
            library, producing(settings, name), self._topic, settings["timeout_seconds"], context
        )
        config = connection(settings)
        self._partitions = ensure(
            library, client, config, self._topic, create=settings["create_partitions"]
        )
        self._counted = time.monotonic()
        self._messages = Messages(
            context,
            # librdkafka has the hash in C.
            Partitions(self._partitions, positive, by_key=settings["value"] == "json"),
            resp=settings["value"] == "resp",
            max_bytes=settings["max_message_bytes"],
            oversize=settings["oversize"],
        )
        if name is None:
            return None
        places = settings["place_topic"] or f"{self._topic}.repltap"
        ensure(library, client, config, places, create=1, compacted=True)
        self._transactions = Transactions(library, client, config, places, name, context)
        return self._transactions.open()

    def write(self, records: Sequence[AnyRecord]) -> None:
        """Queue messages; with transactions, in the one that the next commit ends."""
        client, messages, context = self._client, self._messages, self._context
        assert client is not None
        assert messages is not None
        assert context is not None
        if self._committed:
            self._committed = False
            self._recount(client)
        if self._transactions is not None:
            self._transactions.begin()
        size = count = 0
        for value, key, partition, headers in messages.write(records):
            client.produce(value, key, partition, headers)
            size += len(value)
            count += 1
            if count % _POLL_EVERY == 0:
                client.poll()
        client.poll()
        context.sent(size)
        self._produced += count

    def commit(self, place: str) -> Mapping[str, Any] | None:
        """Wait until all is acknowledged; with transactions, commit it together with the place."""
        client = self._client
        assert client is not None
        if self._transactions is None:
            client.flush()
        else:
            self._transactions.commit(place)
        self._committed = True
        if self._transactions is None:
            return None
        return self._transactions.state

    def close(self) -> None:
        """Let go of what is not acknowledged; an open transaction is aborted."""
        client, transactions = self._client, self._transactions
        self._client = self._transactions = self._messages = self._context = None
        if client is None:
            return
        if transactions is not None:
            transactions.close()
        client.close()

    def samples(self) -> Sequence[Sample]:
        """Give what waits in the producer, and what it was given."""
        # Of two sinks the numbers would be added up without the name.
        labels = {"sink": self._name, "topic": self._topic}
        waiting = 0 if self._client is None else len(self._client)
        produced = self._produced
        return (
            Sample("sink_kafka_queued_messages", "Messages not acknowledged.", labels, waiting),
            Sample("sink_kafka_messages_total", "Messages produced.", labels, produced),
        )

    def _recount(self, client: Client) -> None:
        """Notice partitions that were added: keys belong to others now."""
        now = time.monotonic()
        if self._partitions and now - self._counted > _RECOUNT_SECONDS:
            self._counted = now
            count = partitions_of(client, self._topic)
            if count != self._partitions:
                raise SinkError(
                    f"topic {self._topic} had {self._partitions} partitions and has {count}: "
                    "keys belong to others from here on"
                )


def _library() -> Any:
    try:
        return importlib.import_module("confluent_kafka")
    except ImportError as exc:
        raise SinkError(
            f"confluent-kafka can't be imported: {exc}",
            hint="pip install 'repltap[kafka]'",
            kind=SinkErrorKind.UNSUPPORTED,
            passes=False,
        ) from None
