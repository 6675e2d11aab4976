"""Bringing a message of Sentinel's channel to the subscribers on this port that may hear it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Protocol

from repltap.endings import DisconnectReason
from repltap.net.admin.context import ClientKind, ClientView
from repltap.net.admin.glob import matches
from repltap.net.admin.pubsub import message
from repltap.protocol.hello import Address, HelloRules, parse_hello

MAX_UNREAD_BYTES = 256 << 10
"""Messages that a subscriber has not read: minutes of hellos from more sentinels than there are."""


class Subscriber(ClientView, Protocol):
    """A connection, as far as messages go."""

    def tell(self, data: bytes) -> None:
        """Send it a message."""

    def drop(self, reason: DisconnectReason, detail: str) -> None:
        """Disconnect it."""


def publish(
    channel: bytes,
    payload: bytes,
    clients: Iterable[Subscriber],
    rules: HelloRules,
    masters: Collection[Address],
) -> int:
    """Tell those who listen and may hear it.

    Args:
        channel: Sentinel's.
        payload: What is said; nobody hears what is no hello.
        clients: All connections. One that does not read what it subscribed to is disconnected.
        rules: What the sentinels have said before; notes this too.
        masters: The addresses of the master that is followed.

    Returns:
        How often it was sent.
    """
    hello = parse_hello(payload)
    if hello is None:
        return 0
    rules.note(hello)
    sent = 0
    for client in [each for each in clients if each.kind is ClientKind.PUBSUB]:
        if not rules.may_hear(hello, client.state.name, masters):
            continue
        if client.output_buffered_bytes > MAX_UNREAD_BYTES:
            client.drop(DisconnectReason.TRANSFER_STALLED, "does not read what it subscribed to")
            continue
        messages = _messages(client, channel, payload)
        # In one piece: a sending costs more than a message, and nobody else has a turn meanwhile.
        client.tell(b"".join(messages))
        sent += len(messages)
    return sent


def _messages(client: Subscriber, channel: bytes, payload: bytes) -> list[bytes]:
    state = client.state
    found = [message(channel, payload, state.resp)] if channel in state.channels else []
    text = channel.decode("ascii")
    return found + [
        message(channel, payload, state.resp, pattern)
        for pattern in sorted(state.patterns)
        if matches(pattern.decode("utf-8", "replace"), text)
    ]
