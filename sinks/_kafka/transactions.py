"""Delivery in transactions: records become visible together with the place behind them.

The place is a message of a topic of its own, `TOPIC.repltap`, and the offset of that message is
committed for a consumer group, both in the transaction of the records:

    TOPIC.repltap   one partition, compacted; key: the transactional id, value: the place
    group           called as the transactional id, without members; its offset in TOPIC.repltap
                    is that of the message that holds

So what holds is found by one look-up and one message, and a message of a transaction that was
aborted is never taken for it, not even by way of a broker that shows its readers such messages
(Tansu 0.6 does). The metadata of the group's offset would have room for the place, but not every
broker keeps it (Tansu 0.6 does not).

The offset is in the state of the relay's checkpoint, too. It tells which of both is further: Kafka,
after a crash between its commit and the checkpoint; the checkpoint, when nothing was to be
delivered and the place moved on all the same. A checkpoint without it is of delivery without
transactions: what Kafka holds is from before that.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from repltap.sink import SinkContext, SinkError
from sinks._kafka.client import STEP_SECONDS, Client

_DEFAULT_TIMEOUT_MS = 60_000  # librdkafka's transaction.timeout.ms
_STATE = "place_offset"
_NONE_HELD = -1
"""In the state: Kafka held no place when it was opened, so what it holds later is ours."""


class Transactions:
    """The transactions of one producer, one after the other.

    Args:
        library: The module confluent_kafka.
        client: A producer with a transactional id.
        config: Of clients that don't produce.
        topic: Where places go.
        name: The transactional id, and the group.
        context: The sink's.
    """

    def __init__(
        self,
        library: Any,
        client: Client,
        config: Mapping[str, Any],
        topic: str,
        name: str,
        context: SinkContext,
    ) -> None:
        self._library = library
        self._client = client
        self._config = config
        self._topic = topic
        self._name = name
        self._context = context
        self._group: Any = None
        self._began: float | None = None
        self._timeout_seconds = (
            float(config.get("transaction.timeout.ms", _DEFAULT_TIMEOUT_MS)) / 1000
        )
        # Of the place that Kafka holds; None where that was not looked at.
        self._offset = _known_offset(context.state)
        client.expired = self._expired

    @property
    def state(self) -> dict[str, Any]:
        """What `open` has to find as the context's state."""
        return {} if self._offset is None else {_STATE: self._offset}

    def open(self) -> str | None:
        """Shut out older producers, end what they left, and find the place.

        Returns:
            What the sink's `open` returns.

        Raises:
            SinkError: The brokers can't be reached, or refuse.
        """
        what = f"the transactional id {self._name} could not be taken over"
        self._client.call(what, "init_transactions")
        known = self._offset
        config = {
            **self._config,
            "group.id": self._name,
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            # Whether a place holds, the group's offset says; other sinks' transactions don't
            # matter. Of our own none is open: `init_transactions` has waited for that.
            "isolation.level": "read_uncommitted",
            "logger": self._context.log,
        }
        consumer = self._library.Consumer(config)
        try:
            offset = self._committed_offset(consumer)
            self._group = consumer.consumer_group_metadata()
            place = None
            held = _NONE_HELD if offset is None else offset
            if known is None and self._context.place is not None and not self._context.reset:
                # The last commit was not in a transaction: what Kafka holds is from before.
                known = held
            elif held > (_NONE_HELD if known is None else known):
                place = self._read(consumer, held)
        finally:
            consumer.close()
        self._offset = held  # not before: who could not read it tries again
        if place is None and held != (_NONE_HELD if known is None else known):
            self._context.log.warning(
                "Kafka has lost the place of group %s in topic %s: going on from the checkpoint; "
                "what was committed last may be there twice",
                self._name,
                self._topic,
            )
        return place

    def _committed_offset(self, consumer: Any) -> int | None:
        what = f"the offset of group {self._name} could not be read"
        wanted = [self._library.TopicPartition(self._topic, 0)]
        (found,) = self._client.retry(
            what, lambda seconds: consumer.committed(wanted, timeout=seconds)
        )
        if found.error is not None:
            raise self._client.error(self._library.KafkaException(found.error), what)
        return None if found.offset < 0 else int(found.offset)

    def _read(self, consumer: Any, offset: int) -> str | None:
        """Read the place at an offset; None if it is not there any more."""
        consumer.assign([self._library.TopicPartition(self._topic, 0, offset)])

        def poll(seconds: float) -> Any:
            message = consumer.poll(seconds)
            if message is None:
                raise self._library.KafkaException(
                    self._library.KafkaError(self._library.KafkaError._TIMED_OUT)  # noqa: SLF001
                )
            error = message.error()
            if error is None or error.name() in ("_PARTITION_EOF", "_AUTO_OFFSET_RESET"):
                return message
            raise self._library.KafkaException(error)

        message = self._client.retry(f"the place in topic {self._topic} could not be read", poll)
        ours = message.error() is None and message.key() == self._name.encode()
        return message.value().decode() if ours and message.offset() == offset else None

    def begin(self) -> None:
        """Begin a transaction, unless one is open.

        Raises:
            SinkError: The producer is of no use any more.
        """
        if self._began is None:
            try:
                self._client.producer.begin_transaction()
            except self._client.exception as exc:
                raise self._client.error(exc, "no transaction could be begun") from None
            self._began = time.monotonic()

    def commit(self, place: str) -> None:
        """Commit what was produced since `begin`, and the place; nothing if there is nothing.

        Raises:
            SinkError: It may be committed, or not: `open` finds out.
        """
        if self._began is None:
            return
        offset = self._client.deliver(self._topic, self._name.encode(), place.encode())
        mark = self._library.TopicPartition(self._topic, 0, offset)
        # A connection that is lost meanwhile can let librdkafka wait for ever, whatever the timeout
        # (its issue 5456, seen with 2.16).
        self._client.watched(
            "the place could not be added to the transaction",
            lambda: self._client.producer.send_offsets_to_transaction([mark], self._group, -1),
        )
        self._client.call("a transaction could not be committed", "commit_transaction")
        self._offset = offset
        self._began = None

    def close(self) -> None:
        """Abort what is open; what can't be aborted now, the next `open` aborts."""
        if self._began is None:
            return
        self._began = None
        try:
            self._client.call(
                "a transaction could not be aborted", "abort_transaction", seconds=STEP_SECONDS
            )
        except SinkError as exc:
            self._context.log.debug("%s: the next producer does it", exc)

    def _expired(self) -> bool:
        began = self._began
        return began is not None and time.monotonic() - began > self._timeout_seconds


def _known_offset(state: Mapping[str, Any] | None) -> int | None:
    offset = (state or {}).get(_STATE)
    return offset if isinstance(offset, int) and offset >= _NONE_HELD else None
