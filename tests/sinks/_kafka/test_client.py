"""A producer whose brokers are slow, away, or refuse."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest

from repltap.sink import SinkError, SinkErrorKind
from sinks._kafka import client as module
from sinks._kafka.client import Client
from tests.servers.kafka import Broker
from tests.servers.proxy import Direction, Fault, Proxy
from tests.servers.waiting import PATIENCE_SECONDS, wait_for
from tests.sinks.driver import StubContext
from tests.sinks.kafka_target import client_of


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[tuple[Broker, Proxy]]:
    with Broker(tmp_path, proxied=True) as broker:
        assert broker.proxy is not None
        broker.create("t")
        yield broker, broker.proxy


def produce(client: Client, count: int, *, partition: int = 0) -> None:
    for number in range(count):
        client.produce(b"%d" % number, b"k", partition, [("id", str(number))])


def test_messages_arrive_in_order(proxied: tuple[Broker, Proxy]) -> None:
    broker, _ = proxied
    client = client_of(broker.address)
    produce(client, 1000)
    client.flush()
    assert len(client) == 0
    assert [m.id for m in broker.read("t")] == [str(number) for number in range(1000)]


def test_a_full_queue_waits_for_brokers_that_take_their_time(
    proxied: tuple[Broker, Proxy],
) -> None:
    broker, proxy = proxied
    proxy.weather.delay_seconds = 0.02
    client = client_of(broker.address, kafka="queue.buffering.max.messages=10")
    produce(client, 200)
    client.flush()
    assert [m.id for m in broker.read("t")] == [str(number) for number in range(200)]


def test_brokers_that_take_nothing_are_away(proxied: tuple[Broker, Proxy]) -> None:
    broker, proxy = proxied
    client = client_of(broker.address, kafka="queue.buffering.max.messages=10")
    produce(client, 1)
    client.flush()
    client.timeout_seconds = 1
    proxy.weather.stall()
    with pytest.raises(SinkError, match="the queue of messages is full for 1 s") as raised:
        produce(client, 100)
    assert (raised.value.kind, raised.value.passes) == (SinkErrorKind.AWAY, True)
    assert broker.address in str(raised.value)
    with pytest.raises(SinkError, match="10 messages were not acknowledged for 1 s"):
        client.flush()
    client.close()


@pytest.mark.parametrize("direction", Direction)
def test_cuts_double_nothing_and_lose_nothing(
    proxied: tuple[Broker, Proxy], direction: Direction
) -> None:
    """Answers are lost, too: the broker has what the producer sends again."""
    broker, proxy = proxied
    cuts = [Fault(direction=direction, after_bytes=1500 + 37 * n) for n in range(12)]
    proxy.faults.extend(cuts)
    client = client_of(broker.address, kafka="linger.ms=0;batch.num.messages=7")
    produce(client, 3000)
    client.flush()
    assert len(proxy.faults) < len(cuts)
    assert [m.id for m in broker.read("t")] == [str(number) for number in range(3000)]


def test_a_stop_ends_the_wait(
    proxied: tuple[Broker, Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker, proxy = proxied
    monkeypatch.setattr(module, "_STOPPING_SECONDS", 0.1)
    context = StubContext(told_to_stop=True)
    client = client_of(broker.address, context)
    proxy.weather.stall()
    produce(client, 1)
    with pytest.raises(SinkError, match="the sink has to stop"):
        client.flush()
    client.close()


def test_a_message_that_can_not_be_delivered_says_where(proxied: tuple[Broker, Proxy]) -> None:
    broker, _ = proxied
    client = client_of(broker.address)
    produce(client, 1)
    client.flush()
    with pytest.raises(SinkError, match="topic t.*_UNKNOWN_PARTITION"):
        produce(client, 1, partition=9)
        client.flush()


def test_a_message_that_was_delivered_nobody_knows_where(
    proxied: tuple[Broker, Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by cutting connections: sent again, it was there, and the answer had no offset."""

    class Sent:
        def offset(self) -> None:
            return None

    class Producer:
        def produce(self, *_: Any, on_delivery: Callable[[None, Sent], None]) -> None:
            on_delivery(None, Sent())

    broker, _ = proxied
    client = client_of(broker.address)
    monkeypatch.setattr(client, "flush", lambda: None)
    monkeypatch.setattr(client, "producer", Producer())
    with pytest.raises(SinkError, match="without its offset") as failure:
        client.deliver("t", b"k", b"v")
    assert failure.value.kind is SinkErrorKind.AWAY


def test_a_call_is_repeated_until_the_brokers_answer(proxied: tuple[Broker, Proxy]) -> None:
    broker, _ = proxied
    client = client_of(broker.address)
    calls = []
    timed_out = confluent_kafka.KafkaException(confluent_kafka.KafkaError(-185))

    def call(seconds: float) -> str:
        calls.append(seconds)
        if len(calls) < 3:
            raise timed_out
        return "done"

    assert client.retry("it", call) == "done"
    assert len(calls) == 3

    def never(seconds: float) -> None:
        raise timed_out

    with pytest.raises(SinkError, match="topic t at .*: it: .*_TIMED_OUT"):
        client.retry("it", never, seconds=0.2)


def test_a_setting_that_librdkafka_does_not_know_is_named() -> None:
    with pytest.raises(SinkError, match=r"no\.such\.thing") as raised:
        client_of("127.0.0.1:1", kafka="no.such.thing=1")
    assert not raised.value.passes


def test_a_password_is_in_no_error() -> None:
    given = {"kafka": "security.protocol=nonsense", "sasl_password": "hunter2"}
    with pytest.raises(SinkError, match=r"security\.protocol") as raised:
        client_of("127.0.0.1:1", **given)
    assert "hunter2" not in str(raised.value)


def test_a_closed_producer_is_gone_whoever_keeps_the_error(
    proxied: tuple[Broker, Proxy],
) -> None:
    """Found by a test from end to end: the old one's abort hit the next one's transaction."""
    broker, proxy = proxied
    gc.collect()  # a producer that an earlier test has dropped must not end in between
    before = threads()
    client = client_of(broker.address)
    produce(client, 1)
    client.flush()
    proxy.weather.stall()
    client.timeout_seconds = 1
    produce(client, 10)
    assert threads() > before
    with pytest.raises(SinkError) as raised:
        client.flush()
    client.close()
    assert raised.value.__traceback__ is not None
    # A thread that was waited for may still be listed for a moment.
    wait_for("the end of its threads", lambda: threads() == before)
    assert len(client) == 0
    client.close()


def test_a_call_that_does_not_return_is_left(
    proxied: tuple[Broker, Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker, _ = proxied
    client = client_of(broker.address, timeout=1)
    monkeypatch.setattr(module, "_MAX_LEFT", 1)
    monkeypatch.setattr(module, "_left", [])  # without those of earlier tests
    goes_on = threading.Event()
    done = threading.Event()

    def call() -> None:
        goes_on.wait()
        done.set()

    with pytest.raises(SinkError, match="it: no answer") as raised:
        client.watched("it", call)
    assert raised.value.kind is SinkErrorKind.AWAY
    with pytest.raises(RuntimeError, match="2 calls of librdkafka did not return"):
        client.watched("it", call)
    goes_on.set()
    assert done.wait(PATIENCE_SECONDS)
    client.timeout_seconds = PATIENCE_SECONDS
    client.watched("it", lambda: None)

    def fails() -> None:
        raise confluent_kafka.KafkaException(confluent_kafka.KafkaError(-195))

    with pytest.raises(SinkError, match="it: .*_TRANSPORT"):
        client.watched("it", fails)


def threads() -> int:
    """Count librdkafka's threads in this process."""
    names = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it has ended, as those of a proxy do when a client leaves
            names.append((task / "comm").read_text())
    return sum(name.startswith("rdk:") for name in names)
