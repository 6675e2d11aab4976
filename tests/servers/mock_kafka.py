"""librdkafka's own mock cluster, whose brokers answer with the errors that a test wants.

confluent-kafka does not expose it, so the functions are called in the library that its wheel brings
(librdkafka `rdkafka_mock.h`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import confluent_kafka
import pytest

PRODUCE, METADATA, INIT_PRODUCER_ID = 0, 3, 22

NOT_LEADER = 6
REQUEST_TIMED_OUT = 7
NOT_ENOUGH_REPLICAS = 19
NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20
TOPIC_AUTHORIZATION_FAILED = 29
INVALID_PRODUCER_EPOCH = 47
STORAGE_ERROR = 56

_PRODUCER = 0
_ERROR_BYTES = 512


def _library() -> ctypes.CDLL:
    directory = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
    found = sorted(directory.glob("librdkafka*.so*"))
    if not found:
        pytest.skip("confluent-kafka brings no librdkafka of its own")
    library = ctypes.CDLL(str(found[0]))
    pointer = ctypes.c_void_p
    library.rd_kafka_conf_new.restype = pointer
    library.rd_kafka_new.restype = pointer
    library.rd_kafka_new.argtypes = [ctypes.c_int, pointer, ctypes.c_char_p, ctypes.c_size_t]
    library.rd_kafka_destroy.argtypes = [pointer]
    library.rd_kafka_mock_cluster_new.restype = pointer
    library.rd_kafka_mock_cluster_new.argtypes = [pointer, ctypes.c_int]
    library.rd_kafka_mock_cluster_destroy.argtypes = [pointer]
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    library.rd_kafka_mock_cluster_bootstraps.argtypes = [pointer]
    library.rd_kafka_mock_topic_create.argtypes = [pointer, ctypes.c_char_p, *[ctypes.c_int] * 2]
    library.rd_kafka_mock_push_request_errors_array.restype = None
    library.rd_kafka_mock_push_request_errors_array.argtypes = [
        pointer,
        ctypes.c_int16,
        ctypes.c_size_t,
        ctypes.POINTER(ctypes.c_int),
    ]
    for name in ("set_down", "set_up"):
        getattr(library, f"rd_kafka_mock_broker_{name}").argtypes = [pointer, ctypes.c_int32]
    return library


class MockCluster:
    """Brokers in a thread of this process.

    Args:
        brokers: How many; the first is number 1.
    """

    def __init__(self, brokers: int = 1) -> None:
        self._brokers = brokers
        self._library = _library()
        error = ctypes.create_string_buffer(_ERROR_BYTES)
        conf = self._library.rd_kafka_conf_new()
        self._handle = self._library.rd_kafka_new(_PRODUCER, conf, error, _ERROR_BYTES)
        assert self._handle, error.value
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._handle, brokers)
        self.address: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def __enter__(self) -> MockCluster:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._handle)

    def create(self, topic: str, partitions: int = 1) -> None:
        """Make a topic."""
        failed = self._library.rd_kafka_mock_topic_create(
            self._cluster, topic.encode(), partitions, self._brokers
        )
        assert not failed, failed

    def answer(self, request: int, errors: Sequence[int]) -> None:
        """Answer the next requests of a kind with these errors, in turn; 0 is none."""
        array = (ctypes.c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, request, len(errors), array
        )

    def take_down(self) -> None:
        """Let all brokers be away."""
        for number in range(1, self._brokers + 1):
            self._library.rd_kafka_mock_broker_set_down(self._cluster, number)

    def bring_up(self) -> None:
        """Let them be there again."""
        for number in range(1, self._brokers + 1):
            self._library.rd_kafka_mock_broker_set_up(self._cluster, number)
