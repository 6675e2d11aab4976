"""The settings of a Kafka sink, and a producer with them."""

from __future__ import annotations

from typing import Any

import confluent_kafka

from sinks._kafka.client import Client
from sinks._kafka.settings import OPTIONS, producing
from tests.servers.waiting import PATIENCE_SECONDS
from tests.sinks.driver import StubContext

TOPIC = "t"


def settings(**given: object) -> dict[str, Any]:
    """Settings as they are parsed, defaults filled in."""
    given.setdefault("brokers", "h:1/t")
    return {o.name: o.parse(given[o.name]) if o.name in given else o.default for o in OPTIONS}


def client_of(
    address: str,
    context: StubContext | None = None,
    *,
    timeout: float = PATIENCE_SECONDS,
    **given: Any,
) -> Client:
    """A producer of topic t."""
    made = settings(brokers=f"{address}/{TOPIC}", compression="none", **given)
    config = producing(made, None)
    client = Client(confluent_kafka, config, TOPIC, timeout, context or StubContext())
    _open.append(client)
    return client


def close_clients() -> None:
    """Close the producers that `client_of` has made.

    One that is only dropped has its threads until the garbage is collected, and looks for a broker
    that is long gone; who counts threads or forks would meet it at any time.
    """
    while _open:
        _open.pop().close()


_open: list[Client] = []
