"""SUBSCRIBE and PUBLISH of the one channel."""

from __future__ import annotations

import pytest

from repltap.net.admin.pubsub import MAX_PATTERNS, message
from tests.net.admin.fakes import FakeClient, FakeContext, ask

HELLO = "__sentinel__:hello"


def test_replies_are_those_of_redis() -> None:
    """Byte for byte what redis-server 7.0.15 answers."""
    client = FakeClient()
    assert ask(f"SUBSCRIBE {HELLO}", client) == (
        b"*3\r\n$9\r\nsubscribe\r\n$18\r\n__sentinel__:hello\r\n:1\r\n"
    )
    assert ask(f"PSUBSCRIBE {HELLO[:-1]}*", client) == (
        b"*3\r\n$10\r\npsubscribe\r\n$18\r\n__sentinel__:hell*\r\n:2\r\n"
    )
    assert ask("PING", client) == b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"
    assert ask("PING hi", client) == b"*2\r\n$4\r\npong\r\n$2\r\nhi\r\n"
    assert ask("INFO", client) == (
        b"-ERR Can't execute 'info': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
        b"RESET are allowed in this context\r\n"
    )
    assert ask("PUNSUBSCRIBE", client) == (
        b"*3\r\n$12\r\npunsubscribe\r\n$18\r\n__sentinel__:hell*\r\n:1\r\n"
    )
    assert ask("UNSUBSCRIBE", client) == (
        b"*3\r\n$11\r\nunsubscribe\r\n$18\r\n__sentinel__:hello\r\n:0\r\n"
    )
    assert ask("UNSUBSCRIBE", client) == b"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n"
    assert ask("UNSUBSCRIBE never", client) == (
        b"*3\r\n$11\r\nunsubscribe\r\n$5\r\nnever\r\n:0\r\n"
    )
    assert ask("PING", client) == b"+PONG\r\n"


def test_resp3_pushes_and_goes_on() -> None:
    client = FakeClient()
    client.state.resp = 3
    assert ask(f"SUBSCRIBE {HELLO}", client).startswith(b">3\r\n$9\r\nsubscribe\r\n")
    assert ask("PING", client) == b"+PONG\r\n"
    assert ask("ROLE", client).startswith(b"*5\r\n")
    assert message(HELLO.encode(), b"x", 3) == (
        b">3\r\n$7\r\nmessage\r\n$18\r\n__sentinel__:hello\r\n$1\r\nx\r\n"
    )
    assert message(HELLO.encode(), b"x", 2, b"__*") == (
        b"*4\r\n$8\r\npmessage\r\n$3\r\n__*\r\n$18\r\n__sentinel__:hello\r\n$1\r\nx\r\n"
    )


@pytest.mark.parametrize(
    "line", ["SUBSCRIBE news", f"SUBSCRIBE {HELLO} news", "PSUBSCRIBE *", "PSUBSCRIBE news.*",
             "PSUBSCRIBE __sentinel__:other", "PUBLISH news x"],
)  # fmt: skip
def test_other_channels_are_refused(line: str) -> None:
    """Nothing would ever come there: what the master publishes is in the stream."""
    client = FakeClient()
    context = FakeContext(connected=[client])
    assert b"only the channel __sentinel__:hello" in ask(line, client, context)
    assert not client.state.subscribed
    assert not context.published


def test_patterns_are_bounded() -> None:
    client = FakeClient()
    stars = [f"__sentinel__:{'*' * n}" for n in range(1, MAX_PATTERNS + 2)]
    assert ask("PSUBSCRIBE " + " ".join(stars[:-1]), client).count(b"psubscribe") == MAX_PATTERNS
    assert ask("PSUBSCRIBE " + stars[-1], client).startswith(b"-ERR at most 8 patterns")
    assert len(client.state.patterns) == MAX_PATTERNS


def test_publish_and_pubsub() -> None:
    client, listener = FakeClient(), FakeClient(id=8)
    ask(f"SUBSCRIBE {HELLO}", listener)
    ask(f"PSUBSCRIBE {HELLO}", listener)
    context = FakeContext(connected=[client, listener])
    assert ask(f"PUBLISH {HELLO} text", client, context) == b":3\r\n"
    assert context.published == [b"text"]
    assert ask("PUBSUB CHANNELS", client, context) == b"*1\r\n$18\r\n__sentinel__:hello\r\n"
    assert ask("PUBSUB CHANNELS x*", client, context) == b"*0\r\n"
    assert ask(f"PUBSUB NUMSUB {HELLO} x", client, context) == (
        b"*4\r\n$18\r\n__sentinel__:hello\r\n:1\r\n$1\r\nx\r\n:0\r\n"
    )
    assert ask("PUBSUB NUMPAT", client, context) == b":1\r\n"
    line = ask("CLIENT LIST", client, context).decode()
    assert "sub=1 psub=1" in line
    assert ask("RESET", listener) == b"+RESET\r\n"
    assert not listener.state.subscribed
