"""SUBSCRIBE, PUBLISH and their kind, for the one channel that a relay has: Sentinel's hello.

A replica also gives its subscribers what is published at the master, because it executes the
stream. A relay does not, so it refuses every other channel instead of never saying anything there.
"""

from __future__ import annotations

from repltap.net.admin.command import Call, Command, RefusedError
from repltap.net.admin.glob import matches
from repltap.protocol import reply
from repltap.protocol.hello import CHANNEL

MAX_PATTERNS = 8
"""More ways to write one channel's name than anybody needs."""

_ONLY_HELLO = (
    b"ERR this is repltap, a replication relay: it has only the channel __sentinel__:hello. "
    b"Publish and subscribe at the master or at a replica"
)


def message(channel: bytes, payload: bytes, resp: int, pattern: bytes | None = None) -> bytes:
    """Encode a message for one subscriber (Redis `addReplyPubsubMessage`)."""
    kind = (reply.bulk("message"),) if pattern is None else (reply.bulk("pmessage"),)
    parts = (*kind, *(() if pattern is None else (reply.bulk(pattern),)))
    return reply.push((*parts, reply.bulk(channel), reply.bulk(payload)), resp)


def _change(call: Call, kind: str, name: bytes | None) -> bytes:
    count = len(call.state.channels) + len(call.state.patterns)
    shown = reply.null(call.resp) if name is None else reply.bulk(name)
    return reply.push((reply.bulk(kind), shown, reply.integer(count)), call.resp)


def _subscribe(call: Call) -> bytes:
    names = call.args[1:]
    if any(name != CHANNEL for name in names):
        raise RefusedError(_ONLY_HELLO)
    answer = b""
    for name in names:
        call.state.channels.add(name)
        answer += _change(call, "subscribe", name)
    return answer


def _subscribe_pattern(call: Call) -> bytes:
    # `*` would promise what the master publishes too.
    patterns = call.args[1:]
    for pattern in patterns:
        text = pattern.decode("utf-8", "replace")
        if not text.startswith("__sentinel__:") or not matches(text, CHANNEL.decode()):
            raise RefusedError(_ONLY_HELLO)
    if len(call.state.patterns | set(patterns)) > MAX_PATTERNS:
        raise RefusedError(b"ERR at most %d patterns" % MAX_PATTERNS)
    answer = b""
    for pattern in patterns:
        call.state.patterns.add(pattern)
        answer += _change(call, "psubscribe", pattern)
    return answer


def _unsubscribe(call: Call) -> bytes:
    return _leave(call, "unsubscribe", call.state.channels)


def _unsubscribe_pattern(call: Call) -> bytes:
    return _leave(call, "punsubscribe", call.state.patterns)


def _leave(call: Call, kind: str, subscribed: set[bytes]) -> bytes:
    names: list[bytes] | list[None] = call.args[1:] or sorted(subscribed) or [None]
    answer = b""
    for name in names:
        if name is not None:
            subscribed.discard(name)
        answer += _change(call, kind, name)
    return answer


def _publish(call: Call) -> bytes:
    if call.args[1] != CHANNEL:
        raise RefusedError(_ONLY_HELLO)
    return reply.integer(call.context.publish(call.args[1], call.args[2]))


def _channels(call: Call) -> bytes:
    pattern = call.args[2].decode("utf-8", "replace") if len(call.args) > 2 else "*"
    found = any(CHANNEL in client.state.channels for client in call.context.clients())
    found = found and matches(pattern, CHANNEL.decode())
    return reply.array((reply.bulk(CHANNEL),) if found else ())


def _number_subscribed(call: Call) -> bytes:
    parts: list[bytes] = []
    for name in call.args[2:]:
        count = sum(name in client.state.channels for client in call.context.clients())
        parts += (reply.bulk(name), reply.integer(count))
    return reply.array(parts)


def _number_patterns(call: Call) -> bytes:
    found = {pattern for client in call.context.clients() for pattern in client.state.patterns}
    return reply.integer(len(found))


_FLAGS = ("pubsub", "noscript", "loading", "stale")
_CATEGORIES = ("pubsub", "slow")

COMMANDS = (
    *(
        Command(
            name=name,
            arity=arity,
            handler=handler,
            summary=summary,
            since="2.0.0",
            group="pubsub",
            flags=_FLAGS,
            categories=_CATEGORIES,
        )
        for name, arity, handler, summary in (
            ("subscribe", -2, _subscribe, "Listen to Sentinel's hello messages"),
            ("unsubscribe", -1, _unsubscribe, "Listen no more"),
            ("psubscribe", -2, _subscribe_pattern, "Listen to Sentinel's hello messages"),
            ("punsubscribe", -1, _unsubscribe_pattern, "Listen no more"),
        )
    ),
    Command(
        name="publish",
        arity=3,
        handler=_publish,
        summary="Say hello as a sentinel",
        since="2.0.0",
        group="pubsub",
        flags=("pubsub", "loading", "stale", "fast"),
        categories=("pubsub", "fast"),
    ),
    Command(
        name="pubsub",
        arity=-2,
        summary="Who listens",
        since="2.8.0",
        group="pubsub",
        categories=("slow",),
        subcommands=tuple(
            Command(
                name=f"pubsub|{name}",
                arity=arity,
                handler=handler,
                summary=summary,
                usage=usage,
                since="2.8.0",
                group="pubsub",
                flags=("pubsub", "loading", "stale"),
                categories=_CATEGORIES,
            )
            for name, arity, handler, summary, usage in (
                (
                    "channels",
                    -2,
                    _channels,
                    "Name what is listened to",
                    "[<pattern>]",
                ),
                ("numsub", -2, _number_subscribed, "Count the listeners", "[<channel> ...]"),
                ("numpat", 2, _number_patterns, "Count the patterns", ""),
            )
        ),
    ),
)
