"""What the redis sink makes of records."""

from __future__ import annotations

from repltap.delivery.context import DeliveryContext
from repltap.delivery.filters import Selection
from repltap.delivery.progress import Progress
from repltap.delivery.settings import SinkSettings
from repltap.rdb.entries import Members
from repltap.sink import RespForm, SinkErrorKind, SnapshotMode
from sinks.redis import RedisSink
from tests.delivery.targets import TestBell
from tests.servers.server import Server
from tests.sinks.driver import StubContext, place_of
from tests.sinks.records import Stream, entry
from tests.sinks.redis_target import KEY, checkpoint, data_of, failure, redis_sink, run


def test_flushall_and_swapdb_leave_the_checkpoint_where_it_is(
    server: Server, sink: RedisSink
) -> None:
    stream = Stream()
    run(sink, [stream.command(b"SET", b"k", b"zero"), stream.command(b"SET", b"k", b"3", db=3)])
    run(sink, [stream.command(b"SWAPDB", b"0", b"3")])
    assert checkpoint(server)["place"] == place_of(1)
    assert data_of(server) == {
        (0, b"k"): (b"string", False, b"3"),
        (3, b"k"): (b"string", False, b"zero"),
    }
    with server.client() as client:
        assert client.pipeline([("SELECT", 3), ("KEYS", "*")])[1] == [b"k"]
    run(sink, [stream.command(b"FLUSHALL")])
    assert checkpoint(server)["place"] == place_of(1)
    assert run(sink) == place_of(1)


class OfTwoDatabases(StubContext):
    """Of a sink with include_db = 0,3."""

    def resp_form(self, *, target: str | None = None) -> RespForm:
        settings = SinkSettings(
            sink=RedisSink,
            name="contract",
            type="redis",
            origin="a test",
            options={},
            snapshot=SnapshotMode.NEVER,
            include=Selection(dbs=frozenset({0, 3})),
        )
        return DeliveryContext(settings, "m", TestBell(), Progress(), self.log).resp_form()


def test_flushall_empties_the_databases_that_are_chosen(server: Server, sink: RedisSink) -> None:
    """It took along what others had in the target: found by reading."""
    stream = Stream()
    with server.client() as client:
        client.pipeline([("SELECT", 5), ("SET", "theirs", "1")])
    sink = redis_sink(server.port, flush="no")
    run(
        sink,
        [stream.command(b"SET", b"a", b"1"), stream.command(b"SET", b"b", b"1", db=3)],
        [stream.command(b"FLUSHALL", b"ASYNC"), stream.command(b"SET", b"c", b"1")],
        context=OfTwoDatabases(),
    )
    assert data_of(server).keys() == {(5, b"theirs"), (3, b"c")}
    assert checkpoint(server)["place"] == place_of(2)


def test_the_checkpoint_of_a_source_that_is_a_mirror_itself_is_left_out(
    server: Server, sink: RedisSink
) -> None:
    stream = Stream()
    context = StubContext()
    snapshot = stream.snapshot([entry(KEY.encode(), "string", b"foreign")])
    run(sink, *snapshot, [stream.command(b"SET", KEY.encode(), b"foreign")], context=context)
    assert checkpoint(server)["place"] == place_of(4)
    assert context.left_out == 2


def test_what_is_said_to_a_cluster_is_left_out(server: Server, sink: RedisSink) -> None:
    stream = Stream()
    context = StubContext()
    run(sink, [stream.command(b"CLUSTER", b"SYNCSLOTS", b"x")], context=context)
    assert context.left_out == 1


def test_hellos_of_the_sources_sentinels_are_left_out(server: Server, sink: RedisSink) -> None:
    """They are in the stream; sentinels of the target may call their master the same."""
    stream = Stream()
    context = StubContext()
    with server.client() as listener:
        listener.call(
            "SUBSCRIBE",
            "__sentinel__:hello",
        )
        run(
            sink,
            [
                stream.command(b"PUBLISH", b"__sentinel__:hello", b"of the source"),
                stream.command(b"PUBLISH", b"news", b"x"),
                stream.command(b"SET", b"k", b"v"),
            ],
            context=context,
        )
        server.call("PUBLISH", "__sentinel__:hello", "of the target")
        assert listener.call("PING") == [b"message", b"__sentinel__:hello", b"of the target"]
    assert context.left_out == 1
    assert data_of(server)[(0, b"k")]


def test_relative_times_count_from_when_they_came_in(server: Server, sink: RedisSink) -> None:
    # Of 2023: over since long.
    run(sink, [Stream().command(b"SET", b"k", b"v", b"PX", b"5000")])
    assert data_of(server) == {}


def test_a_database_that_the_target_lacks_is_no_other_one(server: Server, sink: RedisSink) -> None:
    stream = Stream()
    error = failure(sink, [stream.command(b"SET", b"k", b"v", db=16)])
    assert error.kind is SinkErrorKind.UNSUPPORTED
    assert "is for number 16" in str(error)
    assert server.call("DBSIZE") == 0


def test_a_snapshot_that_goes_on_within_a_key(server: Server, sink: RedisSink) -> None:
    parts = [
        entry(b"list", "list", Members([b"a"]), part=0, last=False, length=2),
        entry(b"list", "list", Members([b"b"]), part=1, last=True, length=2),
    ]
    begin, first, second, end = Stream().snapshot(parts, batch=1)
    run(sink, begin, first)
    run(sink, second, end)
    assert data_of(server) == {(0, b"list"): (b"list", False, [b"a", b"b"])}


def test_of_a_snapshot_an_error_names_key_and_type(server: Server, sink: RedisSink) -> None:
    doubled = [entry(b"k", "string", b"hunter2"), entry(b"k", "list", Members([b"hunter2"]))]
    error = failure(sink, *Stream().snapshot(doubled))
    assert "refused RPUSH of key b'k', a list of the snapshot: WRONGTYPE" in str(error)
