"""The Kafka sink's options, and the configuration of librdkafka that is made of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from repltap.sink import Option, choice, integer, seconds, secret, size, text

_MAX_TOPIC = 249  # Kafka's own limit
_TOPIC = re.compile(rf"(?!\.\.?$)[A-Za-z0-9._-]{{1,{_MAX_TOPIC}}}")
_BROKER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@;,\[\]]+)(?::([0-9]{1,5}))?")
_DEFAULT_PORT = 9092

_SECRETS = {
    "sasl.password": "sasl_password",
    "ssl.key.password": "ssl_key_password",
    "ssl.keystore.password": "ssl_key_password",
    "ssl.key.pem": "ssl.key.location",
    "sasl.oauthbearer.client.secret": "sasl.oauthbearer.method",
    "sasl.oauthbearer.config": "sasl.oauthbearer.method",
}
"""What must not stand in the open, and what takes its place."""

_OURS = frozenset(
    {
        "acks", "bootstrap.servers", "compression.codec", "compression.type",
        "delivery.report.only.error",
        "delivery.timeout.ms", "dr_cb", "dr_msg_cb", "enable.auto.commit",
        "enable.gapless.guarantee", "enable.idempotence", "error_cb", "group.id",
        "isolation.level", "message.max.bytes", "message.timeout.ms", "metadata.broker.list",
        "on_delivery", "partitioner", "request.required.acks", "transactional.id",
    }
)  # fmt: skip
"""What delivery rests on, or has an option of its own."""


class Brokers(NamedTuple):
    """Where to deliver: `HOST:PORT` with commas between, and the topic if it was given here."""

    servers: str
    topic: str | None


def brokers(raw: object) -> Brokers:
    """Read HOST:PORT[,HOST:PORT...][/TOPIC]; `;` for a comma, or a list, is the same."""
    if isinstance(raw, list | tuple) and all(isinstance(one, str) for one in raw):
        raw = ",".join(raw)
    wanted = ValueError(f"{raw!r} is not HOST:PORT/TOPIC; more brokers: HOST:PORT,HOST:PORT/TOPIC")
    if not isinstance(raw, str):
        raise wanted
    hosts, slash, topic = raw.partition("/")
    servers = []
    for one in re.split("[;,]", hosts):
        match = _BROKER.fullmatch(one.strip())
        if match is None or not 0 < int(match[2] or _DEFAULT_PORT) < 65536:
            raise wanted
        servers.append(f"{match[1]}:{match[2] or _DEFAULT_PORT}")
    return Brokers(",".join(servers), topic_name(topic) if slash else None)


def topic_name(raw: object) -> str:
    """Read the name of a topic, by Kafka's rule."""
    if not isinstance(raw, str) or not _TOPIC.fullmatch(raw):
        raise ValueError(f"{raw!r} is not a topic: letters, digits, '.', '_' and '-'")
    return raw


def library_settings(raw: object) -> Mapping[str, str]:
    """Read settings of librdkafka: a table, a list of name=value, or text with `;` between."""
    if isinstance(raw, str):
        raw = [one for one in raw.split(";") if one.strip()]
    if isinstance(raw, Mapping):
        pairs = list(_flat(raw, ""))
    elif isinstance(raw, list | tuple) and all(isinstance(one, str) and "=" in one for one in raw):
        pairs = [tuple(part.strip() for part in one.split("=", 1)) for one in raw]
    else:
        raise ValueError("must be name=value, with ; between, such as linger.ms=20")
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in _SECRETS:
            raise ValueError(f"{name}: not here, where it could be seen: use {_SECRETS[name]}")
        if name in _OURS:
            raise ValueError(f"{name}: is set by the sink")
        if name in found:
            raise ValueError(f"{name}: is given twice")
        found[name] = value
    return found


def _flat(table: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """TOML reads `linger.ms = 5` as a table in a table."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            raise ValueError(f"{prefix}{name}: must be text, a number, true or false")
        else:
            shown = str(value).lower() if isinstance(value, bool) else str(value)
            yield f"{prefix}{name}", shown


OPTIONS: tuple[Option, ...] = (
    Option(
        name="brokers",
        parse=brokers,
        help="HOST:PORT/TOPIC; several with commas between.",
        required=True,
    ),
    Option(name="topic", parse=topic_name, help="The topic, if it is not part of brokers."),
    Option(
        name="create_partitions",
        parse=integer(0, 10_000),
        default=0,
        help="Create the topic with so many partitions if it is not there; 0: it has to be.",
    ),
    Option(
        name="delivery",
        parse=choice(("idempotent", "transactional")),
        default="idempotent",
        help="idempotent: at least once, with equal ids; transactional: exactly once.",
    ),
    Option(
        name="transactional_id",
        parse=text,
        help="Default: repltap.SOURCE.SINK. Two that deliver under one id shut each other out.",
    ),
    Option(
        name="place_topic",
        parse=topic_name,
        help="Where transactional delivery keeps its place; default: TOPIC.repltap.",
    ),
    Option(
        name="value",
        parse=choice(("json", "resp")),
        default="json",
        help="json: the envelope; resp: the command as a server executes it.",
    ),
    Option(
        name="compression",
        parse=choice(("none", "gzip", "snappy", "lz4", "zstd")),
        default="lz4",
        help="none, gzip, snappy, lz4 or zstd.",
    ),
    Option(
        name="max_message_bytes",
        parse=size(2000, 1_000_000_000),
        default=1_000_000,
        help="Key, headers and value together; at most the topic's max.message.bytes.",
    ),
    Option(
        name="oversize",
        parse=choice(("fail", "truncate", "discard")),
        default="fail",
        help="A record that is larger: fail, truncate its values, or discard it.",
    ),
    Option(
        name="timeout_seconds",
        parse=seconds(1, 3600),
        default=30.0,
        help="Brokers that take nothing for so long are away.",
    ),
    Option(
        name="kafka",
        parse=library_settings,
        default={},
        help="Settings of librdkafka: name=value, several with ; between; or a table.",
        table=True,
    ),
    Option(name="sasl_password", parse=secret, help="Goes with sasl.username.", secret=True),
    Option(name="ssl_key_password", parse=secret, help="Of ssl.key.location.", secret=True),
)


def topic_of(settings: Mapping[str, Any]) -> str:
    """Find the topic.

    Raises:
        ValueError: It is given twice, or not at all.
    """
    topics = {settings["brokers"].topic, settings["topic"]} - {None}
    if len(topics) != 1:
        said = "is missing (brokers are HOST:PORT/TOPIC)" if not topics else "is given twice"
        raise ValueError(f"topic: {said}")
    return str(topics.pop())


def connection(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Make the part of librdkafka's configuration that any kind of client needs."""
    made: dict[str, Any] = {
        "client.id": "repltap",
        # Errors come through calls and are told with context: its own lines would repeat them.
        "log_level": 2,
        "reconnect.backoff.max.ms": 2000,  # 10 s by itself: long for brokers that are back
        **settings["kafka"],
        "bootstrap.servers": settings["brokers"].servers,
    }
    for name, option in (
        ("sasl.password", "sasl_password"),
        ("ssl.key.password", "ssl_key_password"),
    ):
        if settings[option] is not None:
            made[name] = settings[option]
    return made


def producing(settings: Mapping[str, Any], transactional_id: str | None) -> dict[str, Any]:
    """Make the producer's configuration."""
    made = {
        # So much may wait in memory; the linger is what librdkafka has by itself.
        "queue.buffering.max.messages": 100_000,
        "queue.buffering.max.kbytes": 64 << 10,
        **connection(settings),
        "enable.idempotence": True,
        "acks": "all",
        "partitioner": "murmur2",
        "compression.type": settings["compression"],
        "message.max.bytes": settings["max_message_bytes"],
    }
    if transactional_id is not None:
        # A failed delivery fails the transaction: no callback has to tell of it.
        made["transactional.id"] = transactional_id
        return made
    # A callback for each message would cost more than all the rest.
    made["delivery.report.only.error"] = True
    # A message must never be given up while others behind it go out: what a partition holds of
    # one producer has no gaps, so that what comes first after a retry comes in order, too.
    made["enable.gapless.guarantee"] = True
    made["message.timeout.ms"] = 0
    return made
