"""The options, and what is made of them."""

from __future__ import annotations

import pytest

from sinks._kafka.settings import (
    OPTIONS,
    Brokers,
    brokers,
    connection,
    library_settings,
    producing,
    topic_name,
    topic_of,
)
from tests.sinks.kafka_target import settings


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("h:9092/t", Brokers("h:9092", "t")),
        ("h/t", Brokers("h:9092", "t")),
        ("a:1;b:2/t", Brokers("a:1,b:2", "t")),
        ("a:1,b:2", Brokers("a:1,b:2", None)),
        (["a:1", "b"], Brokers("a:1,b:9092", None)),
        ("[::1]:7/a.b_c-D", Brokers("[::1]:7", "a.b_c-D")),
    ],
)
def test_brokers_and_topic_are_read(raw: object, expected: Brokers) -> None:
    assert brokers(raw) == expected


@pytest.mark.parametrize(
    "raw", ["", "/t", "h:0/t", "h:70000/t", "h:x/t", "h/", "h/a/b", "h:1;;g:1/t", 7, ["a", 1]]
)
def test_what_is_no_broker_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="is not"):
        brokers(raw)


@pytest.mark.parametrize("raw", [".", "..", "", "a b", "ä", "x" * 250, 5])
def test_what_is_no_topic_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="is not a topic"):
        topic_name(raw)


@pytest.mark.parametrize(
    "raw",
    [
        "linger.ms=20;ssl.ca.location=/a=b;enable.metrics.push=false",
        ["linger.ms = 20", "ssl.ca.location=/a=b", "enable.metrics.push=false"],
        {
            "linger": {"ms": 20},
            "ssl.ca.location": "/a=b",
            "enable": {"metrics": {"push": False}},
        },
    ],
)
def test_settings_of_librdkafka_come_in_three_forms(raw: object) -> None:
    expected = {"linger.ms": "20", "ssl.ca.location": "/a=b", "enable.metrics.push": "false"}
    assert library_settings(raw) == expected


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("acks=1", "acks: is set by the sink"),
        ("transactional.id=x", "is set by the sink"),
        ("linger.ms=1;linger.ms=2", "linger.ms: is given twice"),
        ("linger.ms", "name=value"),
        (5, "name=value"),
        ({"linger": {"ms": [5]}}, "linger.ms: must be text, a number"),
    ],
)
def test_what_delivery_rests_on_can_not_be_changed(raw: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        library_settings(raw)


@pytest.mark.parametrize("name", ["sasl.password", "ssl.key.password", "ssl.key.pem"])
def test_secrets_are_refused_where_they_could_be_seen(name: str) -> None:
    with pytest.raises(ValueError, match=name) as raised:
        library_settings(f"{name}=hunter2")
    assert "hunter2" not in str(raised.value)


def test_the_topic_is_given_once() -> None:
    assert topic_of(settings()) == "t"
    assert topic_of(settings(brokers="h:1", topic="u")) == "u"
    with pytest.raises(ValueError, match="twice"):
        topic_of(settings(topic="u"))
    with pytest.raises(ValueError, match="missing"):
        topic_of(settings(brokers="h:1"))


def test_secrets_have_options_of_their_own() -> None:
    given = settings(sasl_password="a", ssl_key_password="b", kafka="sasl.username=me")
    made = connection(given)
    assert made["sasl.password"] == "a"
    assert made["ssl.key.password"] == "b"
    assert made["sasl.username"] == "me"
    assert {o.name for o in OPTIONS if o.secret} == {"sasl_password", "ssl_key_password"}


def test_settings_of_librdkafka_go_before_defaults_alone() -> None:
    given = settings(kafka="queue.buffering.max.messages=7;log_level=6;client.id=me")
    made = producing(given, None)
    assert made["queue.buffering.max.messages"] == "7"
    assert made["client.id"] == "me"
    assert made["bootstrap.servers"] == "h:1"


def test_a_producer_without_transactions_leaves_no_gaps() -> None:
    made = producing(settings(), None)
    assert made["enable.idempotence"] is True
    assert made["enable.gapless.guarantee"] is True
    assert made["message.timeout.ms"] == 0
    assert "transactional.id" not in made
    assert producing(settings(), "id")["transactional.id"] == "id"
