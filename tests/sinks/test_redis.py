"""The redis sink, against real servers."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from repltap.sink import AnyRecord, Kind, Record, SinkError, SinkErrorKind
from sinks.redis import RedisSink
from tests.servers.client import Client
from tests.servers.lab import Lab, laboratory
from tests.servers.proxy import Direction, Fault, Proxy
from tests.servers.server import Server
from tests.sinks.contract import SinkContract, Target
from tests.sinks.driver import StubContext, place_of
from tests.sinks.records import Batch, Stream, entry
from tests.sinks.redis_target import KEY, checkpoint, data_of, emptied, failure, redis_sink, run


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with laboratory() as made:
        yield made


@pytest.fixture(scope="module")
def servers(lab: Lab) -> tuple[Server, Server]:
    """A target, and one that is written to plainly."""
    return lab.master("redis-7.0", "target"), lab.master("redis-7.0", "plain")


@pytest.fixture
def server(servers: tuple[Server, Server]) -> Server:
    """An empty target."""
    return emptied(servers[0])


@pytest.fixture
def sink(server: Server) -> Iterator[RedisSink]:
    made = redis_sink(server.port)
    yield made
    made.close()


class RedisTarget(Target):
    exactly_once = True
    keeps_place = True

    def __init__(self, lab: Lab, target: Server, plain: Server) -> None:
        self._target, self._plain = target, plain
        self._proxy = lab.proxy(target)

    def sink(self) -> RedisSink:
        return redis_sink(self._proxy.port)

    def wanted(self, batches: Sequence[Batch]) -> list[Batch]:
        # A command that nobody knows has a test of its own.
        return [
            [one for one in batch if not (isinstance(one, Record) and one.cmd == "GET2")]
            for batch in batches
        ]

    def delivered(self) -> list[Any]:
        return sorted(data_of(self._target).items(), key=repr)

    def expected(self, records: Sequence[AnyRecord]) -> list[Any]:
        """Execute them one by one on a server that knows nothing of sinks."""
        form = StubContext().resp_form()
        with self._plain.client() as client:
            client.call("FLUSHALL")
            _execute(client, form.write(records))
        return sorted(data_of(self._plain).items(), key=repr)

    @contextmanager
    def failing(self) -> Iterator[None]:
        self._proxy.weather.refusing = True
        self._proxy.cut(reset=True)
        try:
            yield
        finally:
            self._proxy.weather.refusing = False

    def close(self) -> None:
        self._proxy.close()


def _execute(client: Client, commands: bytes) -> None:
    import hiredis

    reader = hiredis.Reader()
    reader.feed(commands)
    found = []
    while (words := reader.gets()) is not False:
        found.append(words)
    for reply in client.pipeline(found):
        assert not isinstance(reply, Exception), reply


class TestContract(SinkContract):
    @pytest.fixture
    def target(
        self, lab: Lab, server: Server, servers: tuple[Server, Server]
    ) -> Iterator[RedisTarget]:
        made = RedisTarget(lab, *servers)
        yield made
        made.close()


# What is applied


def test_a_commit_is_one_transaction(server: Server, sink: RedisSink) -> None:
    stream = Stream()
    run(sink, [stream.command(b"SET", b"a", b"1"), stream.command(b"SET", b"b", b"1", db=3)])
    stats = server.info("commandstats")
    assert stats["cmdstat_exec"].startswith("calls=1,")
    assert stats["cmdstat_set"].startswith("calls=3,")
    assert checkpoint(server)["place"] == place_of(1)


def test_nothing_is_applied_before_a_commit(server: Server, sink: RedisSink) -> None:
    stream = Stream()
    sink.open(StubContext())
    sink.write([stream.command(b"SET", b"k", b"x" * 1000) for _ in range(1000)])
    assert server.call("DBSIZE") == 0
    sink.close()
    assert server.call("DBSIZE") == 0


# Places


def test_another_db_and_key_for_the_checkpoint(server: Server) -> None:
    sink = redis_sink(server.port, checkpoint_db=5, checkpoint_key="place")
    stream = Stream()
    run(sink, [stream.command(b"SET", b"k", b"v")])
    with server.client() as client:
        client.call("SELECT", 5)
        assert client.call("KEYS", "*") == [b"place"]
    assert run(sink) == place_of(1)
    away = redis_sink(server.port, checkpoint_db=16)
    assert "has 16 databases" in str(failure(away))


def test_a_key_of_somebody_else_is_not_taken_for_the_checkpoint(
    server: Server, sink: RedisSink
) -> None:
    server.call("SET", KEY, "mine")
    error = failure(sink)
    assert error.kind is SinkErrorKind.REFUSED
    assert "is not this sink's checkpoint" in str(error)
    assert server.call("GET", KEY) == b"mine"


def test_a_checkpoint_of_another_sink_is_refused(server: Server, sink: RedisSink) -> None:
    run(sink)
    other = redis_sink(server.port, checkpoint_key=KEY)
    error = failure(other, context=StubContext(name="other"))
    assert "is of sink 'contract' of source 'm', not of 'other' of 'm'" in str(error)
    assert not error.passes


def test_a_target_that_has_lost_its_data_is_not_gone_on_with(
    server: Server, sink: RedisSink
) -> None:
    sink.open(StubContext())
    state = dict(sink.commit(place_of(1)))
    sink.close()
    server.call("FLUSHALL")
    error = failure(sink, context=StubContext(place_of(1), state))
    assert "has lost what was written to it" in str(error)
    assert not error.passes
    assert server.call("DBSIZE") == 0


def test_a_checkpoint_that_is_deleted_under_a_running_sink_stops_it(
    server: Server, sink: RedisSink
) -> None:
    sink.open(StubContext())
    sink.commit(place_of(1))
    server.call("FLUSHALL")
    with pytest.raises(SinkError, match="is not what this sink has written"):
        sink.commit(place_of(2))


def test_a_connection_that_the_target_closes_when_idle_is_made_again(
    server: Server, sink: RedisSink
) -> None:
    stream = Stream()
    sink.open(StubContext())
    sink.commit(place_of(1))
    server.call("CLIENT", "KILL", "TYPE", "normal")
    sink.idle()
    server.call("CLIENT", "KILL", "TYPE", "normal")
    sink.write([stream.command(b"SET", b"k", b"v")])
    sink.commit(place_of(2))
    assert server.call("GET", "k") == b"v"


def test_a_target_that_has_gone_back_is_noticed_without_anything_to_write(
    server: Server, sink: RedisSink
) -> None:
    sink.open(StubContext())
    sink.commit(place_of(1))
    before = server.call("GET", KEY)
    sink.commit(place_of(2))
    # As after a crash that has cost it the end of its AOF.
    server.call("SET", KEY, before)
    server.call("CLIENT", "KILL", "TYPE", "normal")
    with pytest.raises(SinkError, match="does not have what was written to it last"):
        sink.idle()
    sink.close()
    assert run(sink) == place_of(1)


def test_an_error_is_not_forgotten_where_it_could_not_be_marked(lab: Lab, server: Server) -> None:
    # Within what marks it, which is sent when EXEC has been answered.
    cut = Fault(direction=Direction.TO_SERVER, at=b"EXEC\r\n", after_bytes=10)
    with Proxy(server.port, cut) as proxy:
        sink = redis_sink(proxy.port)
        error = failure(sink, [Stream().command(b"LSET", b"no", b"0", b"hunter2")])
        assert error.kind is SinkErrorKind.AWAY
        assert "failure" not in checkpoint(server)
        assert "refused LSET" in str(failure(sink))
        assert "refused LSET" in checkpoint(server)["failure"]
        assert "refused LSET" in str(failure(redis_sink(server.port)))


# What the target refuses


def test_an_unknown_command_leaves_the_place(server: Server, sink: RedisSink) -> None:
    stream = Stream()
    run(sink, [stream.command(b"SET", b"a", b"1")])
    error = failure(
        sink,
        [stream.command(b"SET", b"a", b"2"), stream.command(b"SETNEW", b"key", b"hunter2")],
    )
    assert (error.kind, error.passes) == (SinkErrorKind.UNSUPPORTED, False)
    assert f"refuses SETNEW at offset {stream.offset - 38} of key b'key'" in str(error)
    assert "unknown command 'SETNEW'" in str(error)
    assert server.call("GET", "a") == b"1"
    assert checkpoint(server)["place"] == place_of(1)


def test_an_error_at_execution_stops_for_good(server: Server, sink: RedisSink) -> None:
    stream = Stream()
    batch: Batch = [
        stream.command(b"SET", b"text", b"hunter2"),
        stream.command(b"INCR", b"text"),
        stream.command(b"SET", b"after", b"1"),
    ]
    error = failure(sink, batch)
    said = f"refused INCR at offset {batch[1].offset_start} of key b'text': ERR value is not an"  # type: ignore[union-attr]
    assert said in str(error)
    assert "1 of 4 commands of one transaction, the others are applied" in str(error)
    assert not error.passes
    assert server.call("GET", "after") == b"1"
    # Nor does it go on after a restart.
    again = failure(redis_sink(server.port), [stream.command(b"SET", b"after", b"2")])
    assert said in str(again)
    assert server.call("GET", "after") == b"1"


def test_an_error_at_execution_can_be_logged(
    server: Server, sink: RedisSink, caplog: pytest.LogCaptureFixture
) -> None:
    stream = Stream()
    failure(sink, [stream.command(b"RENAME", b"nokey", b"hunter2")])
    careless = redis_sink(server.port, on_error="log")
    context = StubContext()
    with caplog.at_level(logging.WARNING):
        assert run(careless, [stream.command(b"LSET", b"no", b"0", b"x")], context=context)
    assert context.left_out == 1
    assert "refused LSET at offset" in caplog.text
    assert run(sink) == place_of(1)  # the mark is gone


def test_a_full_target_is_tried_again(server: Server, sink: RedisSink) -> None:
    stream = Stream()
    batch: Batch = [stream.command(b"SET", b"k", b"v")]
    server.call("CONFIG", "SET", "maxmemory", "100kb")
    error = failure(sink, batch)
    assert (error.kind, error.passes) == (SinkErrorKind.FULL, True)
    server.call("CONFIG", "SET", "maxmemory", "0")
    run(sink, batch)
    assert server.call("GET", "k") == b"v"


def test_a_target_that_becomes_a_replica_is_away(server: Server, sink: RedisSink) -> None:
    stream = Stream()
    sink.open(StubContext())
    sink.commit(place_of(1))
    server.call("REPLICAOF", "127.0.0.1", 1)
    try:
        with pytest.raises(SinkError) as caught:
            sink.write([stream.command(b"SET", b"k", b"v")])
            sink.commit(place_of(2))
        for error in (caught.value, failure(redis_sink(server.port))):
            assert (error.kind, error.passes) == (SinkErrorKind.AWAY, True)
    finally:
        server.call("REPLICAOF", "NO", "ONE")


# Snapshots


def test_a_target_with_data_is_refused_unless_told(server: Server, sink: RedisSink) -> None:
    server.call("SET", "theirs", "1")
    error = failure(sink)
    assert (error.kind, error.passes) == (SinkErrorKind.REFUSED, False)
    assert "holds 1 keys that are not from this sink" in str(error)
    snapshot = Stream().snapshot([entry(b"ours", "string", b"1")])
    run(redis_sink(server.port, flush="no"), *snapshot)
    assert data_of(server).keys() == {(0, b"theirs"), (0, b"ours")}
    # It was not emptied: from here on `auto` can't, either.
    error = failure(sink, *snapshot)
    assert "holds keys that are not from this sink, and a snapshot is due" in str(error)
    run(redis_sink(server.port, flush="yes"), *snapshot)
    assert data_of(server).keys() == {(0, b"ours")}


def test_a_target_with_functions_is_refused_as_one_with_keys(
    server: Server, sink: RedisSink
) -> None:
    """They were deleted: found by reading."""
    code = "#!lua name=theirs\nredis.register_function('f', function() end)"
    server.call("FUNCTION", "LOAD", code)
    assert "holds 1 libraries that are not from this sink" in str(failure(sink))
    run(redis_sink(server.port, flush="no"), *Stream().snapshot([entry(b"k", "string", b"1")]))
    assert len(server.call("FUNCTION", "LIST")) == 1


def test_a_second_snapshot_replaces_all_of_the_first(server: Server, sink: RedisSink) -> None:
    stream = Stream()
    run(sink)
    server.call("FUNCTION", "LOAD", "#!lua name=old\nredis.register_function('f', function() end)")
    run(sink, *stream.snapshot([entry(b"old", "string", b"1", db=3)]))
    assert server.call("FUNCTION", "LIST") == []
    run(sink, [stream.command(b"SET", b"more", b"1")])
    run(sink, *stream.snapshot([entry(b"new", "string", b"1")]))
    assert data_of(server).keys() == {(0, b"new")}


# What is told


def test_gaps_and_lost_histories_are_told(
    server: Server, sink: RedisSink, caplog: pytest.LogCaptureFixture
) -> None:
    stream = Stream()
    run(
        sink,
        [stream.notice(Kind.GAP, gap=500)],
        [stream.notice(Kind.HISTORY, gap=20, reason="failover")],
    )
    assert "lacks what was in bytes 1000 to 1500" in caplog.text
    assert "has bytes 1500 to 1520 of a history that the master has given up" in caplog.text
