"""What an error of librdkafka means to an operator: one place where it becomes a SinkError.

Errors are told apart by name, so that nothing of confluent-kafka has to be imported.
"""

from __future__ import annotations

from typing import Any

from repltap.sink import SinkError, SinkErrorKind

_AWAY = frozenset(
    {
        "_ALL_BROKERS_DOWN", "_MSG_TIMED_OUT", "_PURGE_INFLIGHT", "_PURGE_QUEUE", "_RESOLVE",
        "_TIMED_OUT", "_TIMED_OUT_QUEUE", "_TRANSPORT", "_WAIT_COORD", "BROKER_NOT_AVAILABLE",
        "COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE",
        "LEADER_NOT_AVAILABLE", "NETWORK_EXCEPTION", "NOT_COORDINATOR", "NOT_ENOUGH_REPLICAS",
        "NOT_ENOUGH_REPLICAS_AFTER_APPEND", "NOT_LEADER_FOR_PARTITION", "REQUEST_TIMED_OUT",
    }
)  # fmt: skip

_REFUSED = frozenset(
    {
        "_AUTHENTICATION", "_SSL", "CLUSTER_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED",
        "ILLEGAL_SASL_STATE", "SASL_AUTHENTICATION_FAILED", "TOPIC_AUTHORIZATION_FAILED",
        "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", "UNSUPPORTED_SASL_MECHANISM",
    }
)  # fmt: skip

_UNSUPPORTED = frozenset(
    {
        "_UNSUPPORTED_FEATURE", "INVALID_RECORD", "INVALID_TRANSACTION_TIMEOUT",
        "OFFSET_METADATA_TOO_LARGE", "POLICY_VIOLATION", "UNSUPPORTED_COMPRESSION_TYPE",
        "UNSUPPORTED_FOR_MESSAGE_FORMAT", "UNSUPPORTED_VERSION",
    }
)  # fmt: skip

_TOO_LARGE = frozenset({"MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE"})
_NO_TOPIC = frozenset({"_UNKNOWN_PARTITION", "_UNKNOWN_TOPIC", "UNKNOWN_TOPIC_OR_PART"})
_FENCED = frozenset({"_FENCED", "INVALID_PRODUCER_EPOCH", "PRODUCER_FENCED"})


def is_refusal(error: Any) -> bool:  # Any: a KafkaError
    """Tell whether the brokers don't let us."""
    return error.name() in _REFUSED


def is_fencing(error: Any) -> bool:  # Any: a KafkaError
    """Tell whether the transactional id is another producer's now."""
    return error.name() in _FENCED


def shut_out(error: Any, what: str, *, expired: bool) -> SinkError:  # Any: a KafkaError
    """Make the error of a producer whose transactional id was taken over.

    Args:
        error: What librdkafka says.
        what: What failed, to which topic.
        expired: It may be the brokers that did it: the transaction took too long.
    """
    if expired:
        return SinkError(
            f"{what}: the transaction took too long ({error.name()})",
            hint="transaction.timeout.ms has to be longer than commit_seconds",
        )
    return SinkError(
        f"{what}: another producer has taken over the transactional id ({error.name()})",
        hint="one sink alone may use it: does this one run twice, or another of the same name? "
        "transactional_id gives it one of its own",
        passes=False,
    )


def failure(error: Any, what: str) -> SinkError:  # Any: a KafkaError
    """Make an error for the operator.

    Args:
        error: What librdkafka says.
        what: What failed, to which topic or broker.
    """
    name = error.name()
    message = f"{what}: {error.str()} ({name})"
    if name in _REFUSED:
        return SinkError(
            message,
            hint="check the user, the password, the certificates and what the user may do",
            kind=SinkErrorKind.REFUSED,
            passes=False,
        )
    if name in _NO_TOPIC:
        # It was there when the sink was opened: what opens it again can create it.
        return SinkError(message, hint="create the topic, or set create_partitions")
    if name in _TOO_LARGE:
        return SinkError(
            message,
            hint="max_message_bytes must not exceed the topic's max.message.bytes",
            kind=SinkErrorKind.UNSUPPORTED,
            passes=False,
        )
    if name in _UNSUPPORTED:
        return SinkError(message, kind=SinkErrorKind.UNSUPPORTED, passes=False)
    if name == "KAFKA_STORAGE_ERROR":
        return SinkError(message, hint="look at the broker's disks", kind=SinkErrorKind.FULL)
    return SinkError(message, kind=SinkErrorKind.AWAY if name in _AWAY else SinkErrorKind.OTHER)
