"""The Kafka sink against a real broker: the contract, and what is its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from repltap.sink import Record, Sink, SinkError
from sinks._kafka.murmur2 import positive
from sinks._partitions import Partitions
from sinks.kafka import KafkaSink
from tests.servers.kafka import Broker, Message
from tests.servers.waiting import PATIENCE_SECONDS
from tests.sinks.contract import SinkContract, Target
from tests.sinks.driver import StubContext
from tests.sinks.kafka_target import TOPIC, settings
from tests.sinks.records import Batch, Stream, document, entry, flat, numbered


def settings_at(broker: Broker, **given: object) -> dict[str, Any]:
    """Settings as they are parsed, defaults filled in."""
    usual = {"compression": "none", "timeout_seconds": PATIENCE_SECONDS}
    return settings(brokers=f"{broker.address}/{TOPIC}", **{**usual, **given})


class KafkaTarget(Target):
    """A topic of one partition behind a proxy."""

    large_value_bytes = 512 << 10

    def __init__(self, broker: Broker, delivery: str) -> None:
        self.broker = broker
        self.delivery = delivery
        self.exactly_once = self.keeps_place = delivery == "transactional"
        self._made: list[KafkaSink] = []
        self._timeout_seconds = PATIENCE_SECONDS

    def sink(self) -> Sink:
        made = KafkaSink(
            settings_at(
                self.broker,
                delivery=self.delivery,
                create_partitions=1,
                timeout_seconds=self._timeout_seconds,
                max_message_bytes=10_000_000,
            )
        )
        self._made.append(made)
        return made

    def delivered(self) -> list[Any]:
        return [json.loads(message.value) for message in self.broker.read(TOPIC)]

    def failing(self) -> AbstractContextManager[None]:
        proxy = self.broker.proxy
        assert proxy is not None

        @contextmanager
        def cut() -> Iterator[None]:
            # Short only where nobody answers: a busy broker takes its time.
            self._timeout_seconds = 1.5
            for sink in self._made:
                if sink._client is not None:
                    sink._client.timeout_seconds = 1.5
            proxy.weather.refusing = True
            proxy.cut()
            yield
            proxy.weather.clear()
            self._timeout_seconds = PATIENCE_SECONDS

        return cut()


@pytest.fixture(params=["idempotent", "transactional"])
def target(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[KafkaTarget]:
    """A broker of its own for each test."""
    with Broker(tmp_path, proxied=True) as broker:
        broker.create(TOPIC)
        yield KafkaTarget(broker, request.param)


class TestContract(SinkContract):
    """Nothing of its own."""


# What is its own


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as running:
        yield running


def deliver(sink: Sink, batches: Sequence[Batch]) -> StubContext:
    """Open, write, commit and close."""
    context = StubContext()
    sink.open(context)
    for batch in batches:
        sink.write(batch)
    sink.commit("place")
    sink.close()
    return context


def every_message(broker: Broker, partitions: int) -> list[list[Message]]:
    found = broker.read(TOPIC, partitions)
    return [[m for m in found if m.partition == p] for p in range(partitions)]


@pytest.mark.parametrize("delivery", ["idempotent", "transactional"])
def test_each_partition_has_in_order_all_that_concerns_its_keys(
    broker: Broker, delivery: str
) -> None:
    """What librdkafka chooses for one key, and the sink for several, are the same partitions."""
    stream = Stream()
    keys = [b"k%d" % n for n in range(50)]
    records: list[Record] = []
    for n, key in enumerate(keys * 4):
        records.append(stream.command(b"SET", key, b"%d" % n, db=n % 3))
        if n % 5 == 0:
            records.append(stream.command(b"DEL", *keys[n % 7 : n % 7 + 4]))
        if n % 11 == 0:
            records += stream.transaction([b"INCR", key], [b"INCR", keys[n % 13]])
        if n % 40 == 0:
            records.append(stream.command(b"FLUSHALL"))
    broker.create(TOPIC, 5)
    deliver(KafkaSink(settings_at(broker, delivery=delivery)), [records])
    partitions = every_message(broker, 5)
    for partition, messages in enumerate(partitions):
        rule = Partitions(5, positive)
        expected = [
            (record.id, key)
            for record in records
            for key, number in rule.targets(record)
            if number == partition
        ]
        assert [(m.id, m.key) for m in messages] == expected
    firsts = [m for messages in partitions for m in messages if "copy" not in m.headers]
    assert sorted(m.id for m in firsts) == sorted(r.id for r in records)


def test_a_snapshot_frames_what_follows_in_each_partition(broker: Broker) -> None:
    broker.create(TOPIC, 3)
    stream = Stream()
    entries = [entry(b"k%d" % n, "string", b"v") for n in range(30)]
    deliver(KafkaSink(settings_at(broker)), stream.snapshot(entries))
    for messages in every_message(broker, 3):
        kinds = [m.headers["kind"].decode() for m in messages]
        assert kinds[0] == "snapshot_begin"
        assert kinds[-1] == "snapshot_end"
        assert set(kinds[1:-1]) == {"snapshot"}


def test_resp_of_one_partition_is_what_a_server_executes(broker: Broker) -> None:
    broker.create(TOPIC)
    stream = Stream()
    batch = [
        stream.command(b"SET", b"a", b"1"),
        *stream.transaction([b"INCR", b"a"], [b"INCR", b"a"]),
    ]
    deliver(KafkaSink(settings_at(broker, value="resp")), [batch])
    written = b"".join(m.value for m in broker.read(TOPIC))
    assert written == StubContext().resp_form().write(batch)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_values_can_be_compressed(broker: Broker, compression: str) -> None:
    batches = numbered(1000, batch=500)
    sink = KafkaSink(settings_at(broker, compression=compression, create_partitions=1))
    context = deliver(sink, batches)
    values = [m.value for m in broker.read(TOPIC)]
    assert [json.loads(value) for value in values] == [document(r) for r in flat(batches)]
    assert context.bytes_sent == sum(map(len, values))


def test_partitions_that_are_added_are_noticed(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.create(TOPIC, 2)
    sink = KafkaSink(settings_at(broker))
    sink.open(StubContext())
    batches = numbered(30, batch=10)
    sink.write(batches[0])
    monkeypatch.setattr("sinks.kafka.partitions_of", lambda client, topic: 3)
    monkeypatch.setattr("sinks.kafka._RECOUNT_SECONDS", 0.0)
    sink.write(batches[1])  # not between two commits
    sink.commit("place")
    with pytest.raises(SinkError, match="had 2 partitions and has 3"):
        sink.write(batches[2])
    sink.close()


def test_a_missing_topic_is_an_error_that_says_so(broker: Broker) -> None:
    sink = KafkaSink(settings_at(broker))
    with pytest.raises(SinkError, match=f"topic {TOPIC} does not exist") as raised:
        sink.open(StubContext())
    sink.close()
    assert not raised.value.passes


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"topic": "other"}, "topic: is given twice"),
        ({"value": "resp", "oversize": "truncate"}, "truncate goes with value = json"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        KafkaSink({**settings(brokers="127.0.0.1:1/t"), **given})


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(SinkError, match=r"pip install 'repltap\[kafka\]'") as raised:
        KafkaSink(settings(brokers="127.0.0.1:1/t")).open(StubContext())
    assert not raised.value.passes


def test_the_library_is_imported_when_it_is_opened_only() -> None:
    code = "import sys, sinks.kafka; sys.exit('confluent_kafka' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_samples_count_what_was_produced(broker: Broker) -> None:
    sink = KafkaSink(settings_at(broker, create_partitions=1))
    deliver(sink, numbered(20, batch=10))
    samples = sink.samples()
    values = {sample.name: sample.value for sample in samples}
    assert values == {"sink_kafka_queued_messages": 0, "sink_kafka_messages_total": 20}
    assert [sample.labels for sample in samples] == [{"sink": "contract", "topic": TOPIC}] * 2
