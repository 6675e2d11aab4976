"""One broker for the tests of a module; each test has topics of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.kafka import Broker
from tests.sinks.kafka_target import close_clients


@pytest.fixture(autouse=True)
def _clients_are_closed() -> Iterator[None]:
    yield
    close_clients()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("broker")) as running:
        yield running
