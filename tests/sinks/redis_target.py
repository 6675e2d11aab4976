"""A real server for the tests of the redis sink, and the records to give it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from repltap.sink import SinkError
from sinks._redis.url import Address
from sinks.redis import RedisSink
from tests.servers.dataset import keys
from tests.servers.server import Server
from tests.sinks.driver import StubContext, place_of
from tests.sinks.records import Batch

KEY = "repltap:checkpoint:contract"


def redis_sink(port: int, **settings: object) -> RedisSink:
    """Make a sink with all its settings."""
    values: dict[str, Any] = {option.name: option.default for option in RedisSink.options}
    known = set(values)
    values |= {"url": Address("127.0.0.1", port), **settings}
    assert set(values) == known
    return RedisSink(values)


def data_of(server: Server) -> dict[tuple[int, bytes], object]:
    """Read all keys but the checkpoint."""
    return {name: value for name, value in keys(server) if not name[1].startswith(b"repltap:")}


def emptied(server: Server) -> Server:
    """Bring a server to where it was when it was started."""
    with server.client() as client:
        client.pipeline([("FLUSHALL",), ("FUNCTION", "FLUSH"), ("CONFIG", "RESETSTAT")])
        client.pipeline([("CONFIG", "SET", "maxmemory", "0")])
    return server


def run(sink: RedisSink, *batches: Batch, context: StubContext | None = None) -> str | None:
    """Open a sink, give it batches, commit once and close it."""
    try:
        place = sink.open(context or StubContext())
        for batch in batches:
            sink.write(batch)
        sink.commit(place_of(len(batches)))
        return place
    finally:
        sink.close()


def failure(sink: RedisSink, *batches: Batch, context: StubContext | None = None) -> SinkError:
    """Do the same, which has to fail."""
    with pytest.raises(SinkError) as caught:
        run(sink, *batches, context=context)
    assert "hunter2" not in str(caught.value)
    return caught.value


def checkpoint(server: Server, db: int = 0) -> dict[str, Any]:
    with server.client() as client:
        client.call("SELECT", db)
        found = json.loads(client.call("GET", KEY))
    assert isinstance(found, dict)
    return found
