"""One transaction in the target."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from repltap.sink import SinkError
from sinks.redis import RedisSink
from tests.servers.server import Server
from tests.sinks.driver import StubContext, place_of
from tests.sinks.records import Batch, Stream
from tests.sinks.redis_target import data_of, failure, redis_sink, run


@pytest.mark.parametrize("when", ["before the group", "within it"])
def test_a_second_writer_is_noticed_before_anything_is_applied(
    server: Server, sink: RedisSink, when: str
) -> None:
    stream = Stream()
    batch: Batch = [stream.command(b"INCR", b"n")]
    sink.open(StubContext())
    sink.write(batch)
    sink.commit(place_of(1))
    second = redis_sink(server.port)
    if when == "within it":
        # So much that it is sent before the commit.
        sink.write([stream.command(b"SET", b"k", b"x" * 1000) for _ in range(100)])
    assert run(second, batch) == place_of(1)
    with pytest.raises(SinkError, match="is not what this sink has written"):
        sink.write(batch)
        sink.commit(place_of(2))
    assert server.call("GET", "n") == b"2"
    assert server.call("EXISTS", "k") == 0


def test_no_more_is_unanswered_than_allowed(server: Server) -> None:
    sink = redis_sink(server.port, pipeline_commands=3, pipeline_bytes=1 << 10)
    stream = Stream()
    batch: Batch = [stream.command(b"APPEND", b"k", b"x" * 100_000) for _ in range(20)]
    run(sink, batch, [stream.command(b"INCR", b"n") for _ in range(1000)])
    assert server.call("STRLEN", "k") == 2_000_000
    assert server.call("GET", "n") == b"1000"


@pytest.mark.parametrize(
    ("limits", "waits"),
    [
        ({}, False),
        ({"pipeline_commands": 3}, True),
        ({"pipeline_bytes": 1 << 10}, True),
    ],
)
def test_a_target_that_answers_nothing_is_not_sent_more_than_allowed(
    server: Server, limits: dict[str, int], waits: bool
) -> None:
    sink = redis_sink(server.port, **limits)
    stream = Stream()
    batch: Batch = [stream.command(b"SET", b"k", b"x" * 1000) for _ in range(100)]
    sink.open(StubContext())
    assert sink._connection is not None
    sink._connection._reply_seconds = 0.2
    server.freeze()
    try:
        with pytest.raises(SinkError, match=r"nothing has moved") if waits else nullcontext():
            sink.write(batch)
    finally:
        server.thaw()
        sink.close()


def test_replies_of_a_transaction_are_taken_one_by_one(server: Server, sink: RedisSink) -> None:
    stream = Stream()
    members = [b"%d" % n for n in range(100_000)]
    run(sink, [stream.command(b"RPUSH", b"list", *members)])
    run(sink, [stream.command(b"LPOP", b"list", b"99999"), stream.command(b"GETSET", b"x", b"y")])
    assert data_of(server) == {
        (0, b"list"): (b"list", False, [b"99999"]),
        (0, b"x"): (b"string", False, b"y"),
    }


def test_of_many_errors_the_first_is_told(server: Server, sink: RedisSink) -> None:
    stream = Stream()
    batch: Batch = [stream.command(b"RENAME", b"no%d" % n, b"x") for n in range(30)]
    assert "of key b'no0': ERR no such key (30 of 31 commands" in str(failure(sink, batch))
