"""MULTI as Sentinel uses it, and its limits."""

from __future__ import annotations

import pytest

from repltap.net.admin.context import ClientKind
from repltap.net.admin.transaction import MAX_ANSWER_BYTES, MAX_QUEUED
from tests.net.admin.fakes import FakeClient, FakeContext, ask


def test_what_sentinel_sends_to_re_point_a_replica() -> None:
    """In the order of `sentinelSendSlaveOf`; nothing happens before EXEC."""
    client = FakeClient()
    other = FakeClient(id=8)
    replica = FakeClient(id=9, kind=ClientKind.REPLICA)
    listener = FakeClient(id=10, kind=ClientKind.PUBSUB)
    context = FakeContext(connected=[client, other, replica, listener])
    assert ask("MULTI", client, context) == b"+OK\r\n"
    for line in (
        "SLAVEOF 10.0.0.2 6380",
        "CONFIG REWRITE",
        "CLIENT KILL TYPE normal",
        "CLIENT KILL TYPE pubsub",
    ):
        assert ask(line, client, context) == b"+QUEUED\r\n"
    assert (context.repointed, context.kept, context.killed) == ([], 0, [])
    assert "multi=4" in ask("CLIENT LIST", other, context).decode()
    assert ask("EXEC", client, context) == b"*4\r\n+OK\r\n+OK\r\n:1\r\n:1\r\n"
    assert (context.repointed, context.kept) == ([("10.0.0.2", 6380)], 1)
    assert context.killed == [8, 10]  # never the replicas, nor who asks
    assert client.state.queue is None


def test_errors_in_the_queue_spoil_it() -> None:
    for line in ("NOPE", "SLAVEOF a", "GET a", "SHUTDOWN"):
        client, context = FakeClient(), FakeContext()
        ask("MULTI", client, context)
        assert ask(line, client, context).startswith(b"-")
        assert ask("SLAVEOF 10.0.0.2 6380", client, context) == b"+QUEUED\r\n"
        assert ask("EXEC", client, context) == (
            b"-EXECABORT Transaction discarded because of previous errors.\r\n"
        )
        assert (context.repointed, context.shutdowns) == ([], [])


def test_an_error_at_exec_stops_nothing() -> None:
    client, context = FakeClient(), FakeContext()
    for line in ("MULTI", "SLAVEOF no one", "CONFIG REWRITE"):
        ask(line, client, context)
    answer = ask("EXEC", client, context)
    assert answer.startswith(b"*2\r\n-ERR repltap is a replication relay")
    assert answer.endswith(b"\r\n+OK\r\n")


def test_without_multi() -> None:
    assert ask("EXEC") == b"-ERR EXEC without MULTI\r\n"
    assert ask("DISCARD") == b"-ERR DISCARD without MULTI\r\n"
    client = FakeClient()
    assert ask("MULTI", client) == b"+OK\r\n"
    assert ask("MULTI", client) == b"-ERR MULTI calls can not be nested\r\n"
    assert ask("DISCARD", client) == b"+OK\r\n"
    assert client.state.queue is None


def test_the_queue_is_bounded() -> None:
    client, context = FakeClient(), FakeContext()
    ask("MULTI", client, context)
    for _ in range(MAX_QUEUED):
        assert ask("PING", client, context) == b"+QUEUED\r\n"
    assert ask("PING", client, context) == b"-ERR too many commands in one transaction\r\n"
    assert ask("EXEC", client, context).startswith(b"-EXECABORT")
    ask("MULTI", client, context)
    assert ask([b"ECHO", b"x" * 70_000], client, context).startswith(b"-ERR too many")
    assert ask("RESET", client, context) == b"+RESET\r\n"
    assert client.state.queue is None


def test_answers_go_together_up_to_a_size() -> None:
    """Found in a review: one EXEC of many CLIENT LIST stopped the relay for seconds."""
    context = FakeContext(connected=[FakeClient(id=number) for number in range(300)])
    client = context.connected[0]
    ask("MULTI", client, context)
    for line in ("CLIENT LIST", "PING", "CLIENT LIST"):
        assert ask(line, client, context) == b"+QUEUED\r\n"
    answer = ask("EXEC", client, context)
    assert len(answer) < 2 * MAX_ANSWER_BYTES
    assert answer.count(b"\n-ERR the answers to this transaction are too long") == 2


@pytest.mark.parametrize("line", ["PSYNC ? -1", "SYNC", "REPLCONF capa eof"])
def test_no_replication_from_a_transaction(line: str) -> None:
    client = FakeClient()
    assert ask("MULTI", client) == b"+OK\r\n"
    assert ask(line, client) == b"-ERR Command not allowed inside a transaction\r\n"
    assert ask("EXEC", client).startswith(b"-EXECABORT")


def test_monitor_is_refused_by_exec() -> None:
    client = FakeClient()
    context = FakeContext(connected=[client])
    for line, answer in (
        ("MULTI", b"+OK\r\n"),
        ("MONITOR", b"+QUEUED\r\n"),
        ("EXEC", b"*1\r\n-ERR MONITOR isn't allowed for DENY BLOCKING client\r\n"),
    ):
        assert ask(line, client, context) == answer
    assert context.monitors == []
    assert ask("MONITOR", client, context) == b"+OK\r\n"


@pytest.mark.parametrize("login", ["AUTH default guess", "HELLO 3 AUTH default guess"])
def test_no_logins_in_a_transaction(login: str) -> None:
    """A hundred guesses in one EXEC would not wait for each other."""
    client = FakeClient()
    assert ask("MULTI", client) == b"+OK\r\n"
    assert ask(login, client) == b"-ERR Command not allowed inside a transaction\r\n"
    assert ask("EXEC", client).startswith(b"-EXECABORT")
