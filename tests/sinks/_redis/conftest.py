"""A target for the tests of the redis sink's parts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sinks.redis import RedisSink
from tests.servers.lab import Lab, laboratory
from tests.servers.server import Server
from tests.sinks.redis_target import emptied, redis_sink


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with laboratory() as made:
        yield made


@pytest.fixture(scope="module")
def target(lab: Lab) -> Server:
    return lab.master("redis-7.0", "target")


@pytest.fixture
def server(target: Server) -> Server:
    """An empty target."""
    return emptied(target)


@pytest.fixture
def sink(server: Server) -> Iterator[RedisSink]:
    made = redis_sink(server.port)
    yield made
    made.close()
