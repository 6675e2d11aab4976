"""One producer: bounded queues, progress watched, failed deliveries found, errors told.

A producer that failed is never used again: the sink is opened anew, with another. What waited in
the old one is let go; the records are given again from the last commit on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from repltap.sink import SinkContext, SinkError, SinkErrorKind
from sinks._kafka.failures import failure, is_fencing, is_refusal, shut_out

STEP_SECONDS = 0.25
"""How long a call of librdkafka may block, and so how late it is noticed that the sink ends."""

_STOPPING_SECONDS = 5.0
"""What brokers that take nothing are given when the sink is told to stop."""

_QUEUE_FULL_SECONDS = 0.02

_MAX_LEFT = 8
"""So many producers, of some MB each, may hang in a call that does not return."""

_left: list[threading.Thread] = []  # calls that have not returned


class Client:
    """A producer for one topic.

    Args:
        library: The module confluent_kafka.
        config: Of the producer.
        topic: Where messages go.
        timeout_seconds: Brokers that take nothing for so long are away.
        context: The sink's.

    Attributes:
        log: The sink's.
        timeout_seconds: As given.
        expired: Tells whether a transaction is open for longer than the brokers allow.

    Raises:
        SinkError: The configuration is wrong.
    """

    def __init__(
        self,
        library: Any,
        config: Mapping[str, Any],
        topic: str,
        timeout_seconds: float,
        context: SinkContext,
    ) -> None:
        self._library = library
        self._topic = topic
        self.timeout_seconds = timeout_seconds
        self._context = context
        self.log = context.log
        self._servers = config["bootstrap.servers"]
        self._failed: SinkError | None = None  # the first one tells most
        self._transactional = "transactional.id" in config
        self._said: Any = None  # what librdkafka said last that did not come from a call
        self.expired: Callable[[], bool] = lambda: False
        callbacks = {"error_cb": self._told, "logger": context.log}
        if config.get("delivery.report.only.error"):
            callbacks["on_delivery"] = self._delivered
        try:
            # Nobody else may keep it, nor one of its methods: see `close`.
            self.producer: Any = library.Producer({**config, **callbacks})
        except library.KafkaException as exc:
            raise wrong_configuration(exc) from None
        self.exception: type[Exception] = library.KafkaException

    def __len__(self) -> int:
        """How many messages wait for an answer."""
        return 0 if self.producer is None else len(self.producer)

    def produce(
        self,
        value: bytes,
        key: bytes | None,
        partition: int,
        headers: list[tuple[str, str]],
    ) -> None:
        """Queue a message; waits while the queue is full.

        Raises:
            SinkError: The brokers take nothing, or a delivery has failed.
        """
        try:
            self.producer.produce(self._topic, value, key, partition, headers=headers)
        except BufferError:
            watch = _Watch(self, self.timeout_seconds)
            while not self._produced(value, key, partition, headers):
                self._serve("poll", _QUEUE_FULL_SECONDS)
                self.check()
                watch.check("the queue of messages is full")
        except self.exception as exc:
            raise self.error(exc, "a message was not taken") from None

    def _produced(
        self, value: bytes, key: bytes | None, partition: int, headers: list[tuple[str, str]]
    ) -> bool:
        try:
            self.producer.produce(self._topic, value, key, partition, headers=headers)
        except BufferError:
            return False
        except self.exception as exc:
            raise self.error(exc, "a message was not taken") from None
        return True

    def poll(self) -> None:
        """Find out about failed deliveries, without waiting.

        Raises:
            SinkError: One has failed.
        """
        self._serve("poll", 0)
        self.check()

    def flush(self) -> None:
        """Wait until every message is delivered.

        Raises:
            SinkError: The brokers take nothing, or a delivery has failed.
        """
        watch = _Watch(self, self.timeout_seconds)
        while self._serve("flush", STEP_SECONDS):
            self.check()
            watch.check(f"{len(self)} messages were not acknowledged")
        self.check()

    def deliver(self, topic: str, key: bytes, value: bytes) -> int:
        """Send one message to partition 0 of another topic, behind all others, and wait for it.

        Returns:
            Its offset.

        Raises:
            SinkError: It was not delivered, or nobody knows at which offset.
        """
        offsets: list[int | None] = []

        def delivered(error: Any, message: Any) -> None:
            if error is None:
                offsets.append(message.offset())
            else:
                self._delivered(error, message)

        self.flush()
        try:
            self.producer.produce(topic, value, key, 0, on_delivery=delivered)
        except self.exception as exc:
            raise self.error(exc, "a message was not taken") from None
        self.flush()
        if not offsets:
            raise self.away("a message was not acknowledged")
        if (offset := offsets[0]) is None:
            # It was sent again after a connection broke, and the broker had it: librdkafka takes
            # DUPLICATE_SEQUENCE_NUMBER for success, and that answer carries no offset.
            raise self.away("a message was acknowledged without its offset")
        return offset

    def check(self) -> None:
        """Raise what has failed.

        Raises:
            SinkError: A delivery has failed, or the producer is of no use any more.
        """
        if self._failed is not None:
            raise self._failed

    def retry(
        self, what: str, call: Callable[[float], Any], *, seconds: float | None = None
    ) -> Any:
        """Call what may have to be called again, as long as librdkafka says so.

        Args:
            what: What it does, for the error.
            call: Takes a timeout in seconds.
            seconds: How long it is tried; None for as long as brokers may take.

        Raises:
            SinkError: It failed, or took too long.
        """
        end = time.monotonic() + (self.timeout_seconds if seconds is None else seconds)
        while True:
            try:
                made = call(STEP_SECONDS)
            except self.exception as exc:
                error = exc.args[0]
                again = error.retriable() or error.name() in ("_TIMED_OUT", "_TRANSPORT")
                if error.fatal() or error.txn_requires_abort() or not again:
                    raise self.error(exc, what) from None
                stopping = self._context.wait(0.05)
                if time.monotonic() > end or stopping or self._refused():
                    raise self.error(exc, what) from None
            else:
                self.moved()
                return made

    def call(self, what: str, method: str, *, seconds: float | None = None) -> None:
        """Call a method of the producer that takes a timeout, as `retry` does."""

        def ask(step: float) -> None:
            # Not the bound method itself: the traceback of an error would keep it, and with it
            # the producer.
            getattr(self.producer, method)(step)

        self.retry(what, ask, seconds=seconds)

    def watched(self, what: str, call: Callable[[], None]) -> None:
        """Make a call that may never return, in a thread of its own.

        Raises:
            SinkError: It failed, or took too long. In that case it goes on, and keeps the producer.
            RuntimeError: Too many calls did not return.
        """
        raised: list[Exception] = []

        def run() -> None:
            try:
                call()
            except self.exception as exc:
                raised.append(exc)

        thread = threading.Thread(target=run, name="kafka-call", daemon=True)
        thread.start()
        began = time.monotonic()
        end = began + self.timeout_seconds
        while thread.is_alive() and time.monotonic() < end:
            thread.join(STEP_SECONDS)
            if self.stopping():
                end = min(end, began + _STOPPING_SECONDS)
        if thread.is_alive():
            _left.append(thread)
            _left[:] = [one for one in _left if one.is_alive()]
            if len(_left) > _MAX_LEFT:
                # A new process has none of them; whoever started this one starts it again.
                raise RuntimeError(f"{len(_left)} calls of librdkafka did not return")
            raise self.away(f"{what}: no answer")
        if raised:
            raise self.error(raised[0], what) from None

    def error(self, exc: Exception, what: str) -> SinkError:
        """Make an error of what a call raised, or of what was said of its reason."""
        said = self._said if self._refused() else self._reason(exc.args[0])
        return self._failure(said, f"topic {self._topic} at {self._servers}: {what}")

    def away(self, what: str) -> SinkError:
        """Make the error of brokers that take nothing."""
        if self._said is not None:
            return failure(self._said, f"topic {self._topic} at {self._servers}: {what}")
        return SinkError(f"topic {self._topic} at {self._servers}: {what}", kind=SinkErrorKind.AWAY)

    def _reason(self, error: Any) -> Any:
        """Find out why a call can't be made now: the failure of the transaction before it."""
        if error.name() == "_STATE" and self._transactional:
            try:
                # Nothing can begin; the error says what has failed the transaction.
                self.producer.begin_transaction()
            except self.exception as exc:
                return exc.args[0]
        return error

    def moved(self) -> None:
        """Forget what was said before: the brokers answer again."""
        self._said = None

    def stopping(self) -> bool:
        """Tell whether the sink is told to stop."""
        return self._context.wait(0)

    def close(self) -> None:
        """Let go of what waits; never blocks for long."""
        if self.producer is None:
            return
        with suppress(self.exception):
            # What is under way may still arrive; that is in order, so it does no harm.
            self.producer.purge(in_queue=True, in_flight=False, blocking=False)
        # The last reference, unless a call has not returned: it ends now, and sends nothing more
        # that the next one could take for its own.
        self.producer = None

    def _serve(self, method: str, seconds: float) -> Any:
        """Call what calls back, as `_delivered` and `_told`.

        confluent-kafka raises a producer's fatal error out of such a call, and goes on calling back
        with that exception pending. What it calls then fails, or loses the exception: either way
        the call ends with a SystemError.
        """
        try:
            return getattr(self.producer, method)(seconds)
        except (self.exception, SystemError) as exc:
            self.check()
            what = "the producer has failed"
            found = exc if isinstance(exc, self.exception) else exc.__cause__ or exc.__context__
            if isinstance(found, self.exception):
                raise self.error(found, what) from None
            raise self.away(f"{what}: {exc}") from None

    def _refused(self) -> bool:
        return self._said is not None and is_refusal(self._said)

    def _delivered(self, error: Any, message: Any) -> None:
        if error is None:
            return
        if self._failed is None:
            where = f"topic {message.topic()} partition {message.partition()} at {self._servers}"
            self._failed = self._failure(error, f"{where}: a message was not delivered")

    def _told(self, error: Any) -> None:
        self._said = error
        if error.fatal() and self._failed is None:
            what = f"topic {self._topic} at {self._servers}: the producer has failed"
            self._failed = self._failure(error, what)

    def _failure(self, error: Any, what: str) -> SinkError:
        if is_fencing(error):
            return shut_out(error, what, expired=self.expired())
        return failure(error, what)


class _Watch:
    """Ends a wait in which nothing moves."""

    def __init__(self, client: Client, timeout_seconds: float) -> None:
        self._client = client
        self._timeout_seconds = timeout_seconds
        self._waiting = len(client)
        self._since = time.monotonic()

    def check(self, what: str) -> None:
        """Raise if nothing has been acknowledged for too long.

        Raises:
            SinkError: So it is.
        """
        now = time.monotonic()
        waiting = len(self._client)
        if waiting < self._waiting:
            self._waiting, self._since = waiting, now
            self._client.moved()
            return
        waited = now - self._since
        if waited > self._timeout_seconds:
            raise self._client.away(f"{what} for {self._timeout_seconds:g} s")
        if waited > _STOPPING_SECONDS and self._client.stopping():
            raise self._client.away(f"{what}, and the sink has to stop")


def wrong_configuration(exc: Exception) -> SinkError:
    """Make the error of a setting that librdkafka does not take."""
    # Its text names the setting; a value that it shows is never a password, which is any text.
    return SinkError(f"kafka: {exc.args[0].str()}", hint="check kafka", passes=False)
