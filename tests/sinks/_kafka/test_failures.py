"""What errors of librdkafka become."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from repltap.sink import SinkErrorKind
from sinks._kafka import failures
from sinks._kafka.failures import failure, is_fencing, is_refusal, shut_out

NAMES = {KafkaError(code).name(): code for code in vars(KafkaError).values() if type(code) is int}


@pytest.mark.parametrize(
    ("name", "kind", "passes"),
    [
        ("_TRANSPORT", SinkErrorKind.AWAY, True),
        ("_ALL_BROKERS_DOWN", SinkErrorKind.AWAY, True),
        ("NOT_ENOUGH_REPLICAS", SinkErrorKind.AWAY, True),
        ("SASL_AUTHENTICATION_FAILED", SinkErrorKind.REFUSED, False),
        ("TOPIC_AUTHORIZATION_FAILED", SinkErrorKind.REFUSED, False),
        ("MSG_SIZE_TOO_LARGE", SinkErrorKind.UNSUPPORTED, False),
        ("UNSUPPORTED_VERSION", SinkErrorKind.UNSUPPORTED, False),
        ("UNKNOWN_TOPIC_OR_PART", SinkErrorKind.OTHER, True),
        ("KAFKA_STORAGE_ERROR", SinkErrorKind.FULL, True),
        ("_GAPLESS_GUARANTEE", SinkErrorKind.OTHER, True),
    ],
)
def test_an_error_says_what_failed_and_whether_it_passes(
    name: str, kind: SinkErrorKind, passes: bool
) -> None:
    made = failure(KafkaError(NAMES[name]), "topic t at h:1: nothing went out")
    assert (made.kind, made.passes) == (kind, passes)
    assert str(made).startswith("topic t at h:1: nothing went out: ")
    assert name in str(made)
    assert made.hint or passes or kind is SinkErrorKind.UNSUPPORTED


def test_every_name_is_one_of_librdkafkas() -> None:
    named: set[str] = set()
    for value in vars(failures).values():
        if isinstance(value, frozenset):
            named |= value
    assert len(named) > 30
    assert named <= set(NAMES)


def test_refusals_and_fencing_are_told_apart() -> None:
    assert is_refusal(KafkaError(NAMES["_AUTHENTICATION"]))
    assert not is_refusal(KafkaError(NAMES["_TRANSPORT"]))
    assert is_fencing(KafkaError(NAMES["PRODUCER_FENCED"]))
    assert not is_fencing(KafkaError(NAMES["_TRANSPORT"]))


def test_a_producer_that_was_shut_out_says_by_whom() -> None:
    error = KafkaError(NAMES["_FENCED"])
    rival = shut_out(error, "it failed", expired=False)
    assert "another producer" in str(rival)
    assert not rival.passes
    late = shut_out(error, "it failed", expired=True)
    assert "too long" in str(late)
    assert late.passes
